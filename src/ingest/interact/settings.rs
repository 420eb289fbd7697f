//! What changes no ticket: snippets, skills, being away, the panel. Doing it twice is the same as doing it once.

use super::order::Order;
use super::{Asked, Halt, Interact, NO_TICKETS_MATTER, Said};
use crate::discord::card;
use crate::discord::words;
use crate::people::snippets::{self, SnippetError};
use crate::people::{self, Person, SkillError};

impl Interact<'_> {
    /// `None`: the order is about something else.
    pub(super) async fn change_settings(
        &self,
        asked: &Asked<'_>,
        person: &Person,
        order: &Order,
    ) -> Result<Option<Said>, Halt> {
        let text = match order {
            Order::Away(away) => {
                people::set_away(self.db, person.id, *away, asked.now).await?;
                if *away { words::away_on() } else { words::away_off() }
            }
            Order::SaveSnippet { name, body } => {
                match snippets::save(self.db, name, body, person.id, asked.now).await {
                    Ok(name) => words::snippet_saved(&name),
                    Err(SnippetError::Database(error)) => return Err(error.into()),
                    Err(error) => {
                        return Err(Halt::refused(
                            "the snippet was not saved",
                            words::not_kept(&error.to_string()),
                        ));
                    }
                }
            }
            Order::RemoveSnippet(name) => {
                if !snippets::remove(self.db, name).await? {
                    return Err(Halt::refused("there is no such snippet", words::unknown_snippet(name)));
                }
                words::snippet_removed(name)
            }
            Order::Propose { skill, level } => {
                match people::propose_skill(self.db, person.id, skill, *level, asked.now).await {
                    Ok(own) if own.confirmed => words::skill_entered(&own.name),
                    Ok(own) => words::skill_proposed(&own.name),
                    Err(SkillError::Unknown(typed)) => {
                        return Err(Halt::refused("there is no such skill", words::unknown_skill(&typed)));
                    }
                    Err(SkillError::Database(error)) => return Err(error.into()),
                    Err(error) => {
                        return Err(Halt::refused(
                            "the skill was not entered",
                            words::not_kept(&error.to_string()),
                        ));
                    }
                }
            }
            Order::Panel(channel) => return self.post_panel(asked, *channel).await.map(Some),
            _ => return Ok(None),
        };
        Ok(Some(Said::suppressed(NO_TICKETS_MATTER, text)))
    }

    /// The nonce makes a repeated call the same one.
    async fn post_panel(&self, asked: &Asked<'_>, channel: u64) -> Result<Said, Halt> {
        let Some(api) = self.discord else {
            return Err(Halt::refused("Discord is not configured any more", words::switched_off()));
        };
        let nonce = format!("p{}", asked.ledger);
        match api.post(channel, &card::panel(), Some(&nonce), &[]).await {
            Ok(_) => Ok(Said::suppressed(NO_TICKETS_MATTER, words::panel_posted())),
            Err(error) if error.breaks_thread() => {
                Err(Halt::refused("the bot may not write there", words::may_not_write_here()))
            }
            Err(error) if error.is_temporary() => {
                tracing::warn!(error = %error, "the panel could not be posted");
                Err(Halt::refused("Discord does not answer", words::discord_is_silent()))
            }
            Err(error) => Err(Halt::Failed(error.into())),
        }
    }
}
