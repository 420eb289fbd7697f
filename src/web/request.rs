//! What handlers take from a request, and how a wrong one is told what is wrong.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, PathRejection, QueryRejection};
use axum::extract::{ConnectInfo, FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::header;
use axum::http::request::Parts;
use ipnet::IpNet;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::State as Shared;
use super::error::{Error, Fault};
use super::idempotency::Once;
use crate::audit::Actor;
use crate::ids::TicketId;
use crate::people::Role;
use crate::people::access::{By, Holder};
use crate::tickets::read::Sight;

/// Who makes the request: proven, and read anew from the database.
pub(super) type Caller = Holder;

impl Caller {
    pub(super) fn is_staff(&self) -> bool {
        self.role.is_staff()
    }

    /// The tickets that this person may see; what they may do to one follows from it.
    pub(super) fn sight(&self, moderators_see_all: bool) -> Sight {
        match self.role {
            Role::Admin => Sight::All,
            Role::Moderator if moderators_see_all => Sight::All,
            Role::Moderator => Sight::Moderator(self.person),
            Role::User => Sight::Requester(self.person),
        }
    }

    /// For the audit log.
    pub(super) fn actor(&self) -> Actor {
        let token = match self.by {
            By::Session(_) => None,
            By::Token { id, .. } => Some(id),
        };
        Actor { person: Some(self.person), token, channel: "web" }
    }
}

impl FromRequestParts<Shared> for Caller {
    type Rejection = Error;

    /// Put there by [`super::rights::enforce`]; an operation for anyone has none.
    async fn from_request_parts(parts: &mut Parts, _: &Shared) -> Result<Self, Error> {
        parts.extensions.get::<Self>().cloned().ok_or(Error::Unauthorized)
    }
}

/// The address that the request comes from: the connection's, or, where that is a trusted proxy, the last address in
/// X-Forwarded-For that is none. What stands before it was written by whoever asked, and is not believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Client(pub(super) IpAddr);

impl FromRequestParts<Shared> for Client {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Self::Rejection> {
        let peer = parts.extensions.get::<ConnectInfo<SocketAddr>>();
        let peer = peer.map_or(IpAddr::V4(Ipv4Addr::LOCALHOST), |info| info.0.ip());
        let forwarded = parts.headers.get_all("x-forwarded-for").iter().filter_map(|v| v.to_str().ok());
        Ok(Self(client_address(peer, forwarded, &state.config.http.trusted_proxies)))
    }
}

fn client_address<'a>(peer: IpAddr, forwarded: impl Iterator<Item = &'a str>, trusted: &[IpNet]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(&address));
    let mut client = peer.to_canonical();
    let hops: Vec<&str> = forwarded.flat_map(|value| value.split(',')).collect();
    for hop in hops.iter().rev() {
        if !is_trusted(client) {
            break;
        }
        let Some(address) = address_of(hop.trim()) else { break };
        client = address;
    }
    client
}

/// `192.0.2.1`, `2001:db8::1`, and with a port, as some proxies write it.
fn address_of(text: &str) -> Option<IpAddr> {
    let address: Option<IpAddr> = text.trim_matches(['[', ']']).parse().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|a| a.ip());
    address.or_else(with_port).map(|a| a.to_canonical())
}

/// A JSON body. A wrong one is told where it is wrong.
pub(super) struct Input<T> {
    pub(super) value: T,
    /// For requests that must not be done twice.
    pub(super) once: Once,
}

impl<T: DeserializeOwned> FromRequest<Shared> for Input<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Error> {
        let kind = request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
        let kind = kind.split(';').next().unwrap_or("").trim().to_ascii_lowercase();
        if kind != "application/json" && !(kind.starts_with("application/") && kind.ends_with("+json")) {
            return Err(Error::NotJson);
        }
        let once = Once::of(&request)?;
        let bytes = Bytes::from_request(request, state).await?;
        let value = read_json(&bytes)?;
        Ok(Self { value, once: once.with(&bytes) })
    }
}

fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let value: Value =
        serde_json::from_slice(bytes).map_err(|e| Error::BadRequest(format!("the body is not JSON: {e}")))?;
    if has_nul(&value) {
        return Err(Error::BadRequest("the body holds a NUL character (\\u0000)".to_owned()));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let fault = error.into_inner().to_string();
        Error::Invalid(vec![Fault { field: if path == "." { String::new() } else { path }, detail: fault }])
    })
}

/// PostgreSQL's TEXT cannot hold NUL.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(list) => list.iter().any(has_nul),
        Value::Object(map) => map.iter().any(|(key, value)| key.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}

/// A request without a body that must not be done twice.
impl FromRequest<Shared> for Once {
    type Rejection = Error;

    async fn from_request(request: Request, state: &Shared) -> Result<Self, Error> {
        let once = Self::of(&request)?;
        let bytes = Bytes::from_request(request, state).await?;
        Ok(once.with(&bytes))
    }
}

/// The query. A parameter that is not known is refused: a filter that is misspelled must not show everything.
pub(super) struct Params<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequestParts<Shared> for Params<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Error> {
        if parts.uri.query().is_some_and(|query| query.contains("%00")) {
            return Err(Error::BadRequest("the query holds a NUL character (%00)".to_owned()));
        }
        let Query(value) = Query::<T>::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// Parts of the path. What cannot be one names nothing that is there.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send> FromRequestParts<Shared> for Named<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &Shared) -> Result<Self, Error> {
        if parts.uri.path().contains("%00") {
            return Err(Error::NotFound);
        }
        let Path(value) = Path::<T>::from_request_parts(parts, state).await?;
        Ok(Self(value))
    }
}

/// The number of a ticket in the path.
pub(super) type Number = Named<TicketId>;

impl From<BytesRejection> for Error {
    fn from(rejection: BytesRejection) -> Self {
        if rejection.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            Self::TooLarge
        } else {
            Self::BadRequest("the body ended early".to_owned())
        }
    }
}

impl From<PathRejection> for Error {
    fn from(_: PathRejection) -> Self {
        Self::NotFound
    }
}

impl From<QueryRejection> for Error {
    fn from(rejection: QueryRejection) -> Self {
        Self::BadRequest(rejection.body_text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_forwarded_address_counts_only_where_a_trusted_proxy_wrote_it() {
        let trusted: Vec<IpNet> = ["10.0.0.0/8", "fd00::/8"].iter().map(|n| n.parse().unwrap()).collect();
        let client = |peer: &str, forwarded: &[&str]| {
            client_address(peer.parse().unwrap(), forwarded.iter().copied(), &trusted).to_string()
        };
        assert_eq!(client("192.0.2.1", &["198.51.100.7"]), "192.0.2.1", "nobody vouches for it");
        assert_eq!(client("10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(
            client("10.0.0.1", &["203.0.113.9, 198.51.100.7"]),
            "198.51.100.7",
            "the client wrote the first"
        );
        assert_eq!(client("10.0.0.1", &["203.0.113.9", "198.51.100.7, 10.0.0.2"]), "198.51.100.7");
        assert_eq!(
            client("10.0.0.1", &["10.9.9.9, 10.0.0.2"]),
            "10.9.9.9",
            "proxies only: the first of them"
        );
        assert_eq!(client("10.0.0.1", &["unknown"]), "10.0.0.1");
        assert_eq!(client("10.0.0.1", &["198.51.100.7:4711"]), "198.51.100.7");
        assert_eq!(client("fd00::1", &["[2001:db8::5]:80"]), "2001:db8::5");
        assert_eq!(client("::ffff:10.0.0.1", &["198.51.100.7"]), "198.51.100.7");
        assert_eq!(client("10.0.0.1", &[]), "10.0.0.1");
    }

    #[test]
    fn a_wrong_body_is_told_where_it_is_wrong() {
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Body {
            #[expect(dead_code, reason = "only read")]
            number: i64,
        }
        let told = |text: &str| match read_json::<Body>(text.as_bytes()) {
            Ok(_) => "ok".to_owned(),
            Err(Error::Invalid(faults)) => format!("{faults:?}"),
            Err(other) => other.to_string(),
        };
        insta::assert_snapshot!(told(r#"{"number": 1}"#), @"ok");
        insta::assert_snapshot!(told(r#"{"number": "x"}"#), @r#"[Fault { field: "number", detail: "invalid type: string \"x\", expected i64" }]"#);
        insta::assert_snapshot!(told("{"), @"the body is not JSON: EOF while parsing an object at line 1 column 1");
        insta::assert_snapshot!(told(r#"{"number": 1, "a": ["\u0000"]}"#), @r"the body holds a NUL character (\u0000)");
    }
}
