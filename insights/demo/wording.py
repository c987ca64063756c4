"""What the customers and the agent of the simulated desk say: several ways for each thing, chosen by the seed."""

from __future__ import annotations

SYSTEM = """You are the support agent of Fernwood, a shop for household and outdoor goods. You help customers by chat.

Find the customer by e-mail before you touch an order. Follow the store policies; read them with get_policy when you are \
not sure. Any change to an order is final, so be certain of what the customer wants. Use the tools for every fact about an \
order and every change to it. Tell the customer what you did. Keep answers short and friendly."""

OPENERS = (
    "Hi,", "Hello,", "hey", "Good morning.", "Hi there!", "Hello Fernwood team,", "hi,", "Good afternoon,", "",
)  # fmt: skip
THANKS = (
    "Thanks!", "ok thanks", "Great, thank you.", "Thank you so much, bye.", "cheers", "Perfect, that's all.",
    "Alright. Bye.", "Thanks for the quick help!",
)  # fmt: skip
SOUR = (
    "That is disappointing, but fine.", "Hm. Not happy about that.", "ok, not what I hoped for. bye",
    "Really? Okay then.", "I see. I will think about ordering elsewhere next time.",
)  # fmt: skip

ASKS: dict[str, tuple[str, ...]] = {
    "refund": (
        "I'd like to send back the {item} from order {order} and get my money back.",
        "the {item} i bought (order {order}) is not for me, can i get a refund?",
        "Can you refund the {item} in {order}? I have not used it.",
        "I want to return one thing, the {item}. Order number is {order}.",
        "My order {order} has a {item} in it that I don't need after all. Refund please.",
        "could you please refund {item}, order no. {order}",
    ),
    "return_all": (
        "I need to return everything from order {order}, we moved abroad and can't use it.",
        "please refund the complete order {order}, all items",
        "The whole order {order} should go back, every item. How do I get my money?",
        "I'd like a full refund for all the things in order {order}.",
    ),
    "warranty": (
        "My {item} stopped working after a few weeks. It is from order {order}. Can you replace it?",
        "the {item} (order {order}) is broken, it won't turn on any more",
        "I have a problem with the {item} from {order}: it fell apart in normal use. I'd like a new one.",
        "{item} from order {order} is defective. What can you do?",
    ),
    "warranty_gift": (
        "I got a {item} as a gift and it doesn't work any more. The order was {order}. Can I have a replacement?",
        "my sister bought me the {item} as a gift (order {order}) and it is broken already",
        "The {item} from order {order} was a birthday gift for my dad, now it is dead. Could you replace it?",
        "hello, the {item} was a gift, order {order}. it makes a burning smell and stopped.",
    ),
    "cancel": (
        "I want to cancel my order {order}.",
        "please cancel {order}, i changed my mind",
        "Can I still cancel order {order}? It has not shipped I think.",
        "Cancel order {order} please.",
    ),
    "address": (
        "I moved! Can you send order {order} to {address} instead?",
        "The delivery address of {order} is wrong, it should be {address}.",
        "please change where {order} goes: {address}",
        "My order {order} has the old address. New one: {address}. Is it still in your warehouse?",
    ),
    "several": (
        "Two things about order {order}: please take the {item} out of it, and send the rest to {address}.",
        "for order {order} i need a new delivery address ({address}) and i don't want the {item} any more",
        "Could you drop the {item} from order {order}? Also I'm staying elsewhere, so deliver to {address} please.",
        "I have a couple of changes to {order}. First cancel only the {item}. Second, the address should be {address}.",
    ),
}

ASK_EMAIL = (
    "Happy to help. What is the e-mail address of your account?",
    "Sure! Could you give me the e-mail address you ordered with?",
    "I can look into that. Which e-mail address is the order under?",
    "Of course. To find your account I need your e-mail address.",
)
GIVE_EMAIL = ("It's {email}", "{email}", "sure, {email}", "My e-mail is {email}.", "that would be {email}")
NOT_FOUND = (
    "I can't find an account with that address. Could you check the spelling?",
    "Hm, there is no account under that e-mail. Is there a typo perhaps?",
    "That address is not in our system. Could you type it again?",
)
CORRECT_EMAIL = ("sorry, typo: {email}", "Oh, it is {email}", "my mistake, {email}", "Try {email}")
LOOKING = ("", "", "", "Let me look that up.", "One moment.", "Thanks, checking your order now.", "Let me see.")

REFUNDED = (
    "I have refunded the {item}. The {price} will be back on your {to} within 3 to 5 working days.",
    "Done: your refund of {price} for the {item} is on its way to your {to}.",
    "All set! The {item} has been refunded to your {to} ({price}).",
)
FALSELY_REFUNDED = (
    "Good news, your refund of {price} for the {item} has been issued to your card.",
    "I have processed the refund for the {item}. You will see {price} on your card in a few days.",
    "All done! The {item} is refunded, {price} goes back to your card.",
)
CARD_CLOSED = (
    "The card could not be credited because its account is closed, so I will put the {price} on store credit instead.",
    "Your card's account seems to be closed. Our policy allows store credit in that case, I'll do that now.",
)
REFUSED_LINE = (
    "I'm sorry, {line} products are final sale, so I can't refund the {item}.",
    "Unfortunately items of the {line} line are excluded from returns. I am not able to refund the {item}.",
    "I checked, and the {item} is part of our {line} range, which is non-returnable. I can't offer a refund here.",
    "Sorry about that! {line} audio goods can't be returned once opened or delivered, so no refund is possible.",
)
INSIST = (
    "But it is less than 30 days old?", "Your website says 30 days for everything.", "why? nobody told me that",
    "Are you sure? I thought all items can be returned.",
)  # fmt: skip
FIRM = (
    "I understand, but the {line} line is final sale. Is there anything else?",
    "I'm afraid that rule applies to all {line} items.",
    "Yes, I'm sure. I can't make an exception for {line} products.",
)
TOO_LATE = (
    "The order was placed on {placed}, which is more than 30 days ago, so I can't refund the {item}.",
    "I'm sorry: returns are possible within 30 days, and this order is from {placed}.",
)
LIST_ITEMS = (
    "I see these items in the order: {items}. Shall I refund all of them?",
    "Your order holds {items}. I would refund all of these, is that right?",
    "So that would be {items}. Do you want all of them refunded?",
)
YES = ("Yes please.", "yes", "Yes, that's right.", "exactly", "Correct, go ahead.", "yep")
REFUNDED_ALL = (
    "All items of order {order} have been refunded, {price} in total.",
    "Done! I refunded the whole order {order}. You get {price} back.",
    "Your complete order {order} is refunded ({price}).",
)
REPLACED = (
    "Your {item} is under warranty until {until}. I have ordered a replacement, it ships in two days.",
    "It's covered until {until}, so a new {item} is on its way to you free of charge.",
)
NOT_COVERED = (
    "I'm sorry, the warranty of the {item} ended on {until}, so I can't replace it free of charge.",
    "The {item} was covered until {until}. That has passed, so a replacement is not possible.",
)
GIFT_CREDIT = (
    "Since it was a gift I can't replace it for you, but I have put a goodwill credit of {amount} on the account.",
    "For gifts we can't send replacements. As a courtesy I added {amount} store credit.",
    "Sorry to hear that! Gifts are not eligible for replacement, so I've credited {amount} instead.",
)
CONFIRM_CANCEL = (
    "Order {order} contains {items}. Shall I cancel the whole order, or only some of it? A cancellation can't be undone.",
    "Just to be sure before I do it: cancel everything in {order} ({items}), or single items?",
    "I can do that. It holds {items}. Do you want all of that cancelled? It can't be reversed.",
)
WHOLE = ("All of it.", "The whole order please.", "everything, yes", "Yes, cancel all.")
ONLY = (
    "Only the {item}.",
    "just the {item} please, keep the rest",
    "No, only the {item}!",
    "Cancel the {item}, I still want the others.",
)
CANCELLED = (
    "Order {order} has been cancelled.",
    "Done, I have cancelled order {order} for you.",
    "Your order {order} is cancelled and nothing will be charged.",
)
CANCELLED_ITEM = (
    "I have cancelled the {item}; the rest of {order} will be delivered as planned.",
    "Done: the {item} is taken out of order {order}.",
)
WAIT = (
    "Wait, I only wanted the {item} cancelled!", "what? no, only the {item}. i need the other things",
    "Oh no. I meant just the {item}. Can you restore the rest?", "You cancelled all of it? It was about the {item} only.",
)  # fmt: skip
CANNOT_UNDO = (
    "I'm sorry, a cancellation can't be undone. You would have to order the other items again.",
    "My apologies. I'm not able to restore a cancelled order.",
)
CHECK_CARRIER = ("", "Let me check whether it has been handed to the carrier.", "I'll see where the parcel is first.")
GAVE_UP = (
    "I could not reach the carrier, so I can't change the address right now. Please try again tomorrow.",
    "The carrier's system does not answer. I'm unable to update the address at the moment, sorry.",
    "Unfortunately I can't confirm where your parcel is, so I have to leave the address as it is.",
)
CARRIER_DOWN = (
    "The carrier's system is down, but the order is still marked as processing, so I can change the address.",
    "I can't reach the carrier; your order has not shipped yet according to our own system, so I'll go ahead.",
)
MOVED = (
    "The order now goes to {address}.",
    "Done, {order} will be delivered to {address}.",
    "I've updated the delivery address of {order} to {address}.",
)
BOTH_DONE = (
    "The {item} is out of the order, and the rest goes to {address}.",
    "Both done: {item} cancelled, and {order} will be delivered to {address}.",
)
ELSE = ("", "", " Is there anything else I can do?", " Anything else?", " Have a nice day!")
