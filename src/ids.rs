//! Ids as types, so that a person's id is never taken for a ticket's.

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
        #[derive(sqlx::Type, utoipa::ToSchema)]
        #[serde(transparent)]
        #[sqlx(transparent)]
        pub struct $name(pub i64);

        impl From<i64> for $name {
            fn from(id: i64) -> Self {
                Self(id)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

id!(
    /// A person: requester or staff.
    PersonId
);
id!(
    /// A ticket; the number people see (`#1042`).
    TicketId
);
id!(
    /// One entry of a ticket's conversation.
    MessageId
);
id!(
    /// One outbound message to one recipient.
    DeliveryId
);
id!(
    /// One place in Discord where a ticket is shown.
    ThreadId
);
id!(
    /// One row of the inbound ledger.
    InboundId
);
id!(
    /// One durable job.
    JobId
);
id!(
    /// One skill of the catalogue.
    SkillId
);
id!(
    /// One file that waits for the message it goes with.
    UploadId
);
id!(
    /// One file of a message.
    AttachmentId
);
id!(
    /// One server that is told of events.
    WebhookId
);
id!(
    /// One event on its way to one webhook.
    WebhookDeliveryId
);
