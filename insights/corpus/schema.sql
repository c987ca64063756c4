-- The corpus, schema version 1. One row per thing, typed columns; what does not fit goes to `extra` as JSON.
-- The comments are read by people and by the agents alike: keep them true. A `content` column (text, reasoning,
-- args, result_text …) can be megabytes: name the columns you want, never SELECT *.
-- trace_id joins everything; (trace_id, seq) names a step, written [trace_id#seq] in reports.

CREATE TABLE corpus_info (        -- one row: what this file is
  schema_version INTEGER NOT NULL, insights_version VARCHAR, created_at TIMESTAMPTZ,
  fingerprint VARCHAR);           -- changes when any trace is added, changed or relabelled

CREATE TABLE sources (
  source_id   VARCHAR PRIMARY KEY,   -- sha1(uri || member)
  uri         VARCHAR NOT NULL,      -- path or URL as given
  member      VARCHAR,               -- zip entry, sqlite table, parquet row-group, NULL for whole file
  format      VARCHAR NOT NULL,      -- 'claude_code', 'otlp', 'inspect', ...
  format_version VARCHAR,            -- 'ATIF-v1.7', '2.1.112', 'semconv 1.37', ...
  adapter     VARCHAR NOT NULL, adapter_version INTEGER NOT NULL,
  detect_confidence VARCHAR,         -- certain | likely | guess | forced
  bytes BIGINT, mtime TIMESTAMPTZ, head_hash VARCHAR, full_hash VARCHAR,
  bytes_read BIGINT,                 -- resume point for files that are still being appended to
  n_records BIGINT, n_bad BIGINT,
  status VARCHAR,                    -- ok | partial | truncated | empty | unsupported | refused
  error VARCHAR, ingested_at TIMESTAMPTZ,
  text_share DOUBLE,                 -- share of the source's text that its traces hold, estimated on a sample where text_sampled < 1;
                                     -- below 0.99 ingest_issues lists what is missing; NULL: holds no text, or no trace is read from it
  text_sampled DOUBLE);              -- share of the source, by bytes or rows, whose text was looked for

CREATE TABLE traces (
  trace_id      VARCHAR PRIMARY KEY, -- stable: <format>:<native id>[#n]; sha1 of path+index when none
  source_id     VARCHAR NOT NULL,
  native_id     VARCHAR,             -- id exactly as in the source
  session_id    VARCHAR,             -- conversation / thread that several traces share
  parent_trace_id VARCHAR, parent_tool_call_key VARCHAR,
  relation      VARCHAR,             -- NULL | subagent | fork | continuation | retry | simulated_user
  root_trace_id VARCHAR NOT NULL,
  -- what was attempted
  dataset VARCHAR, task_id VARCHAR, trial INTEGER, split VARCHAR,
  agent VARCHAR, agent_version VARCHAR, framework VARCHAR,
  model VARCHAR, models VARCHAR[], provider VARCHAR,
  input_text VARCHAR USING COMPRESSION zstd, final_output VARCHAR USING COMPRESSION zstd,
  -- when
  started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ, duration_s DOUBLE,
  time_basis VARCHAR,                -- tz | naive_as_utc | epoch_ms | epoch_s | file_mtime | none
  -- how much
  n_steps INTEGER, n_llm_calls INTEGER, n_tool_calls INTEGER, n_tool_errors INTEGER, n_user_turns INTEGER,
  input_tokens BIGINT, cache_read_tokens BIGINT, cache_write_tokens BIGINT,
  output_tokens BIGINT, reasoning_tokens BIGINT,
  usage_basis VARCHAR,               -- calls | reported_total | none ; never both added
  cost_usd DOUBLE, cost_basis VARCHAR, -- reported | none   (computed prices live elsewhere)
  -- how it ended
  success BOOLEAN, score DOUBLE, score_name VARCHAR,
  end_reason VARCHAR,                -- completed | limit_steps | limit_tokens | limit_time | limit_cost | error | user_abort | refused | still_running | unknown
  native_end_reason VARCHAR, error_type VARCHAR, error_message VARCHAR,
  -- how far to trust it
  fidelity VARCHAR,                  -- full | no_reasoning | text_only | io_only | metadata_only
  fingerprint VARCHAR,               -- hash of (role, text) sequence: finds the same run in two files
  tags VARCHAR[], metadata JSON, extra JSON);

CREATE TABLE steps ( -- key: (trace_id, seq)
  trace_id VARCHAR NOT NULL, seq INTEGER NOT NULL,   -- file order, dense from 0
  native_id VARCHAR, parent_seq INTEGER,             -- DAG edge when the source has one
  kind VARCHAR NOT NULL,  -- message | tool_result | compaction | handoff | interrupt | error | state | log
  role VARCHAR,           -- system | developer | user | assistant | tool | environment
  origin VARCHAR,         -- model | human | simulated_user | harness | tool | copied | unknown
  agent VARCHAR,          -- speaking agent in multi-agent runs
  ts TIMESTAMPTZ, duration_ms DOUBLE,
  text VARCHAR USING COMPRESSION zstd, reasoning VARCHAR USING COMPRESSION zstd, reasoning_hidden BOOLEAN,
  parts JSON,             -- only when content is more than text/reasoning/tool calls (images, files, citations)
  text_len INTEGER, n_tool_calls SMALLINT,
  llm_call_id VARCHAR, tool_call_key VARCHAR,        -- tool_call_key set on kind='tool_result'
  span_id VARCHAR,
  segment INTEGER,        -- +1 after each compaction / clear / context reset
  on_path BOOLEAN,        -- false = abandoned branch, rewound, superseded duplicate
  is_error BOOLEAN, extra JSON,
  src_offset BIGINT, src_len BIGINT, src_pointer VARCHAR); -- bytes for line formats, JSON pointer inside documents

CREATE TABLE llm_calls ( -- key: (trace_id, llm_call_id)
  trace_id VARCHAR NOT NULL, llm_call_id VARCHAR NOT NULL, first_seq INTEGER,
  span_id VARCHAR, agent VARCHAR,
  model_requested VARCHAR, model VARCHAR, provider VARCHAR,
  started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ, ttft_ms DOUBLE,
  input_tokens BIGINT,       -- ALL prompt tokens, cached ones included
  cache_read_tokens BIGINT, cache_write_tokens BIGINT,
  output_tokens BIGINT,      -- ALL generated tokens, reasoning included
  reasoning_tokens BIGINT, cost_usd DOUBLE,
  finish_reason VARCHAR, native_finish_reason VARCHAR,
  status VARCHAR, error_type VARCHAR, error_message VARCHAR, attempt SMALLINT,
  params JSON, tools_hash VARCHAR, prompt_hash VARCHAR, extra JSON);

CREATE TABLE tool_calls ( -- key: (trace_id, tool_call_key)
  trace_id VARCHAR NOT NULL, tool_call_key VARCHAR NOT NULL, -- native id, or '<seq>.<i>' when absent/duplicated
  native_id VARCHAR, call_seq INTEGER, result_seq INTEGER, call_index SMALLINT,
  llm_call_id VARCHAR, span_id VARCHAR,
  requestor VARCHAR,        -- assistant | user | harness | provider (server-side tools)
  name VARCHAR, args JSON, args_text VARCHAR USING COMPRESSION zstd, args_error VARCHAR,
  result_text VARCHAR USING COMPRESSION zstd,  -- what the tool gave back; often JSON: CASE WHEN json_valid(result_text) THEN result_text->>'$.name' END
  result JSON,              -- only what a source tells apart from the text, which few do: mostly NULL, never a copy of result_text
  result_len BIGINT, result_truncated BOOLEAN,
  status VARCHAR,           -- ok | error | denied | cancelled | pending | unknown
  error_basis VARCHAR,      -- flag | exit_code | span_status | exception | text   (why status='error')
  error_type VARCHAR, error_message VARCHAR, exit_code INTEGER,
  started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ, duration_ms DOUBLE,
  child_trace_id VARCHAR, extra JSON);

CREATE TABLE spans ( -- key: (trace_id, span_id)
  trace_id VARCHAR NOT NULL, span_id VARCHAR NOT NULL, parent_span_id VARCHAR,
  otel_trace_id VARCHAR, name VARCHAR,
  kind VARCHAR,             -- agent | llm | tool | chain | retriever | embedding | reranker | guardrail | evaluator | workflow | other
  native_kind VARCHAR, convention VARCHAR, -- gen_ai | openinference | traceloop | langfuse | mlflow | ...
  started_at TIMESTAMPTZ, ended_at TIMESTAMPTZ,
  status VARCHAR, error_type VARCHAR, error_message VARCHAR,
  input_text VARCHAR USING COMPRESSION zstd, output_text VARCHAR USING COMPRESSION zstd, attributes JSON, events JSON, depth SMALLINT);

CREATE TABLE annotations (        -- scores, human labels, judge verdicts, failure locations
  trace_id VARCHAR NOT NULL, seq INTEGER, span_id VARCHAR, tool_call_key VARCHAR,
  kind VARCHAR NOT NULL,          -- score | label | failure | feedback
  name VARCHAR NOT NULL, value DOUBLE, label VARCHAR, passed BOOLEAN,
  explanation VARCHAR, annotator VARCHAR, basis VARCHAR, -- ground_truth | judge | human | user | heuristic
  extra JSON);

CREATE TABLE blobs (              -- media and repeated big texts (system prompts, tool lists), content-addressed
  hash VARCHAR PRIMARY KEY, mime VARCHAR, bytes BIGINT, text VARCHAR USING COMPRESSION zstd, data BLOB, uri VARCHAR);

CREATE TABLE ingest_issues (
  source_id VARCHAR, trace_id VARCHAR, seq INTEGER, src_offset BIGINT,
  code VARCHAR NOT NULL, severity VARCHAR, n BIGINT, detail VARCHAR);

CREATE TABLE expected (           -- reference data that came with a trace: what a right run would do, say or make pass; key: (trace_id, idx)
  trace_id VARCHAR NOT NULL, idx INTEGER NOT NULL,
  kind VARCHAR NOT NULL,          -- action | output | answer | test | assertion
  name VARCHAR,                   -- tool name of an action, name of a test
  args JSON,                      -- arguments of an action
  value VARCHAR,                  -- text of an output, answer or assertion
  grp VARCHAR,                    -- FAIL_TO_PASS | PASS_TO_PASS | reward basis … where the source groups them
  met BOOLEAN,                    -- the source's own verdict on this item, NULL when it gives none
  extra JSON);

CREATE TABLE slices (             -- low-cardinality attributes of a trace: metadata, regularities of ids, names, paths; key: (trace_id, name)
  trace_id VARCHAR NOT NULL,
  name VARCHAR NOT NULL,          -- repository, suite, model, scaffold, attack, version, week …
  value VARCHAR NOT NULL,
  basis VARCHAR);                 -- column | metadata | id | path | time   (where it was read off)

CREATE TABLE signals (            -- what detectors saw; written at ingest and by `insights detect`
  trace_id VARCHAR NOT NULL, seq INTEGER NOT NULL,   -- the step at which the detector fired
  start_seq INTEGER,              -- first step of the pattern
  detector VARCHAR NOT NULL, severity VARCHAR,       -- info | low | medium | high
  n INTEGER,                      -- how often the pattern repeated
  detail VARCHAR);                -- one line for a reader, at most 300 characters

CREATE TABLE deviations (         -- where a run departs from its reference (table expected); worked out at ingest
  trace_id VARCHAR NOT NULL, seq INTEGER,            -- NULL where the deviation is that something did not happen
  kind VARCHAR NOT NULL,          -- missing action | wrong argument | unneeded action | out of order | missing output | wrong answer | test broken | test still fails | assertion not met
  name VARCHAR, argument VARCHAR, -- tool and argument, or test
  expected VARCHAR, actual VARCHAR);  -- at most 200 characters each

CREATE TABLE actions (            -- what happened as a line of tokens; worked out at ingest
  trace_id VARCHAR NOT NULL, seq INTEGER NOT NULL, i INTEGER,   -- in the order seq, i
  token VARCHAR NOT NULL);        -- tool | tool:program | tool!err | tool!empty | user:tool | USER | FINAL

CREATE TABLE verdicts (           -- what `insights label` said of traces: stands over what their sources say, here and in `traces`
  trace_id VARCHAR PRIMARY KEY, success BOOLEAN, score DOUBLE,
  fingerprint VARCHAR,            -- of the trace when it was labelled; another one now: the trace has changed since
  given_at TIMESTAMPTZ);

CREATE TABLE rules (              -- rules of `insights detect --rules FILE --write`: run over every trace as it is read in
  name VARCHAR PRIMARY KEY, rule JSON);

-- `labels` is a view over labels/*.parquet beside this file: what models or people said of traces, and saved cohorts.
-- labels(trace_id VARCHAR, seq INTEGER, name VARCHAR, value VARCHAR, quote VARCHAR, explanation VARCHAR,
--        kind VARCHAR /* judged | gold | human | cohort */, model VARCHAR, prompt_hash VARCHAR, run_id VARCHAR, created_at TIMESTAMPTZ)
