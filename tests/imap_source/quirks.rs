//! Servers write one answer in many ways; a mail comes through each as it is.

use ticketd::sources::imap;

use super::{ledger_of, reader, settings};
use crate::harness::imap_script::{Fault, ImapScript};

#[tokio::test]
async fn a_mail_is_read_as_it_is_however_the_server_writes_its_answer() {
    let mails: [&[u8]; 4] = [
        b"Subject: one line",
        b"",
        b"Subject: {7}\r\n\r\n) UID 9)\r\n* 1 FETCH (UID 8)\r\nA1 OK done\r\n",
        b"Subject: four\r\n\r\nplain\r\n",
    ];
    let faults = [Fault::Quoted(1), Fault::Quoted(2), Fault::Disorder(3)];
    let server = ImapScript::start(&mails, &faults);
    let mut reader = reader(settings(server.port(), "ada")).await;
    assert_eq!(imap::sync_once(&mut reader).await.expect("the mailbox is read"), 4);
    let kept = ledger_of(&reader).raw().await;
    assert_eq!(kept, mails.map(<[u8]>::to_vec));
}
