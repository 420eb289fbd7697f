//! What admins look after: people, skills, settings, and how the desk fares.

use utoipa_axum::router::OpenApiRouter;

use crate::web::State as Shared;

mod alarms;
mod audit;
mod bulk;
mod dashboard;
mod deliveries;
mod jobs;
mod ledger;
mod loop_breakers;
mod page;
mod people;
mod refusals;
mod settings;
mod skills;
mod snippets;
mod staff;
mod tokens;

pub(super) fn router() -> OpenApiRouter<Shared> {
    OpenApiRouter::new()
        .merge(people::router())
        .merge(staff::router())
        .merge(tokens::router())
        .merge(skills::router())
        .merge(snippets::router())
        .merge(settings::router())
        .merge(jobs::router())
        .merge(bulk::router())
        .merge(deliveries::router())
        .merge(ledger::router())
        .merge(loop_breakers::router())
        .merge(alarms::router())
        .merge(audit::router())
        .merge(dashboard::router())
}
