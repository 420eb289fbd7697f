//! Any text as configuration: read, or refused in one line. So are the two other documents that people write by hand, the
//! catalogue of skills and the list of staff, as far as no database is needed.

#![no_main]

use std::collections::BTreeMap;

use libfuzzer_sys::fuzz_target;
use ticketd::config::Config;

fuzz_target!(|data: &[u8]| {
    let Ok(text) = std::str::from_utf8(data) else { return };
    // What stands behind the first NUL is a variable of the environment.
    let (text, variable) = text.split_once('\0').unwrap_or((text, ""));
    let environment = variable
        .split_once('=')
        .map(|(name, value)| (format!("TICKETD_{name}"), value.to_owned()))
        .into_iter()
        .collect::<BTreeMap<_, _>>();
    match Config::parse(text, environment) {
        Ok(config) => {
            let _keys = config.without_effect();
            let _addresses = config.own_addresses();
            let _mailbox = config.default_mailbox();
        }
        Err(error) => {
            let line = format!("{error:#}");
            assert!(!line.trim().is_empty() && !line.contains('\n'), "{line:?}");
        }
    }
});
