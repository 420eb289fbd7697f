//! The fake Discord is good enough for the real serenity, and refuses what the real Discord refuses.

mod bot;
mod refusals;

use std::time::Duration;

use serenity::all::{CreateMessage, GatewayIntents};
use serenity::model::id::ChannelId;

use crate::harness::discord::{Discord, PRIVATE_THREAD, SUPPORT, TOKEN, Trouble};
use bot::Bot;

#[tokio::test]
async fn a_command_becomes_a_deferred_answer_a_private_thread_and_a_card() {
    let discord = Discord::start().await;
    let (mia, eve) = (discord.member("mia"), discord.member("eve"));
    let bot = Bot::start(&discord).await;
    let asked = mia.uses("/ticket new").with("subject", "Printer on fire").with("category", "Billing").await;
    assert_eq!(asked.answer().await, "opened");
    assert!(asked.is_ephemeral().await);
    assert!(asked.first_answer_took().await < Duration::from_secs(3));
    let thread = discord.support_thread("#1001").await;
    assert_eq!(
        (thread.kind(), thread.members(), thread.invitable()),
        (PRIVATE_THREAD, vec!["mia".to_owned()], false)
    );
    assert!(mia.sees(thread.id()) && !eve.sees(thread.id()));
    let card = thread.card();
    assert!(card.text.contains("Printer on fire") && card.text.contains("billing"), "{}", card.text);
    assert_eq!(card.pings, Vec::<String>::new(), "@everyone stands there, but notifies nobody");
    assert_eq!(card.controls, ["Claim", "Close", "[Priority]"]);
    bot.stops().await;
}
