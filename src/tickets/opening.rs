//! What requesters write here, instead of by mail or in Discord: new tickets, and messages in their own.

use chrono::{DateTime, Utc};

use super::actions::{self, Act};
use super::{Channel, Inbound, Locked, NewParticipant, Opening, TicketError, labels, parties, uploads};
use crate::ids::{MessageId, PersonId, TicketId, UploadId};
use crate::queue::Tx;

/// A ticket to be opened.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub requester: PersonId,
    /// Where the requester is answered by mail, where staff who ask in their name say so; `None`: at the address that is
    /// the requester's for sure, if there is one.
    pub address: Option<&'a str>,
    pub subject: &'a str,
    pub body: &'a str,
    /// One of the configured ones.
    pub category: Option<&'a str>,
    /// Files that whoever writes this has sent before.
    pub uploads: &'a [UploadId],
    /// Tell the requester by mail that it arrived.
    pub acknowledge: bool,
}

/// Opens a ticket by web; it is judged and assigned like any other. `act.by` writes it, for themselves or for a customer.
pub async fn open(
    tx: &mut Tx,
    request: &Request<'_>,
    act: Act,
) -> Result<(TicketId, MessageId), TicketError> {
    let subject = labels::subject_line(request.subject);
    if subject.is_empty() {
        return Err(TicketError::EmptySubject);
    }
    if request.body.trim().is_empty() {
        return Err(TicketError::EmptyReply);
    }
    let address = match request.address {
        Some(address) => Some(address.to_owned()),
        None => parties::verified_address(tx, request.requester).await?,
    };
    let opening = Opening {
        acknowledge: request.acknowledge && address.is_some(),
        acknowledge_to: address.clone(),
        ..Opening::default()
    };
    let author = NewParticipant { person: request.requester, address: address.unwrap_or_default() };
    let message = written(author, subject, request.body, act.now);
    let (ticket, id) = super::open(tx, &message, &opening, act.now).await?;
    uploads::attach(tx, act.by, id, request.uploads).await?;
    let by_other = act.by != request.requester;
    if by_other || request.category.is_some() {
        let locked = super::lock(tx, ticket).await?;
        if by_other {
            let data = serde_json::json!({"message": id});
            actions::event(tx, &locked, "entered_for", &data, act).await?;
        }
        if let Some(category) = request.category {
            actions::set_category(tx, &locked, category, act).await?;
        }
    }
    Ok((ticket, id))
}

/// The requester writes into their own ticket. What is resolved or closed is open again by it.
pub async fn say(
    tx: &mut Tx,
    ticket: &Locked,
    body: &str,
    files: &[UploadId],
    act: Act,
) -> Result<MessageId, TicketError> {
    if body.trim().is_empty() {
        return Err(TicketError::EmptyReply);
    }
    // Where they are written to stays as it is.
    let address = super::address_of(tx, ticket.id, act.by, Channel::Web).await?;
    let address = match address {
        Some(address) => Some(address),
        None => parties::verified_address(tx, act.by).await?,
    };
    let author = NewParticipant { person: act.by, address: address.unwrap_or_default() };
    let message = written(author, String::new(), body, act.now);
    let id = super::append(tx, ticket, &message, act.now).await?;
    uploads::attach(tx, act.by, id, files).await?;
    Ok(id)
}

fn written(author: NewParticipant, subject: String, body: &str, now: DateTime<Utc>) -> Inbound {
    Inbound {
        ledger: None,
        channel: Channel::Web,
        author,
        rfc_id: None,
        subject,
        body: body.to_owned(),
        visible: body.to_owned(),
        html: None,
        sender_class: "human",
        from_human: true,
        origin: None,
        reply_to: None,
        refs: Vec::new(),
        new_ids: Vec::new(),
        cc: Vec::new(),
        attachments: Vec::new(),
        problems: None,
        sent_at: None,
        received_at: now,
    }
}
