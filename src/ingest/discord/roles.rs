//! Who still holds the Discord roles that make staff: asked by the clock, because who loses one may never do anything in
//! Discord again, and the privileged intent that would tell is not ours.

use std::collections::BTreeMap;

use super::{Ingest, mapped_role};
use crate::ids::PersonId;
use crate::people::{self, Role};
use crate::queue::{Claimed, Done, JobError};

impl Ingest {
    /// Asks Discord about everybody who is staff by a role there; who is not any more loses the right.
    pub async fn look_at_roles(&self, job: &Claimed) -> Result<Done, JobError> {
        let (Some(api), Some(settings)) = (&self.discord, &self.config.discord) else {
            return job.done(self.db.begin().await?).await;
        };
        let mut now_held: BTreeMap<PersonId, Option<Role>> = BTreeMap::new();
        for (person, user) in people::staff_by_discord(&self.db).await? {
            let member = api.member(settings.guild_id, user).await.map_err(|e| JobError::Retry(e.into()))?;
            let role = member.and_then(|member| mapped_role(settings, &member.roles));
            let held = now_held.entry(person).or_default();
            // One person may have several users there.
            *held = [*held, role].into_iter().flatten().max_by_key(|role| *role == Role::Admin);
        }
        let mut tx = self.db.begin().await?;
        for (person, role) in now_held {
            people::set_discord_role(&mut tx, person, role, self.clock.now()).await?;
        }
        job.done(tx).await
    }
}
