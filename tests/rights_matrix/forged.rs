//! Tokens that are not good are refused at every operation that needs one.

use chrono::TimeDelta;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use ticketd::mail::token::derive;
use ticketd::people::{self, access};
use ticketd::web::auth::AccessTokens;

use super::rows::{self, Rule};
use super::world::{Actor, World};

/// The claims of a good token.
fn claims(world: &World, session: i64) -> Value {
    let now = world.desk.clock.now();
    json!({
        "iss": "ticketd", "aud": "ticketd-api", "sub": world.dora.to_string(), "sid": session,
        "iat": now.timestamp(), "exp": (now + TimeDelta::minutes(15)).timestamp(),
    })
}

fn with(mut claims: Value, key: &str, value: Value) -> Value {
    claims[key] = value;
    claims
}

#[tokio::test]
async fn expired_forged_and_revoked_tokens_open_nothing() {
    let world = World::build().await;
    let now = world.desk.clock.now();
    let masters = people::signing_keys(&world.desk.db, now).await.expect("keys");
    let key = derive(&masters[0], "access tokens");
    let good = world.token(Actor::Admin).expect("a token").to_owned();
    let kid = jsonwebtoken::decode_header(&good).expect("a header").kid;
    let session = world.session(world.dora, now + TimeDelta::days(1)).await;
    let sign = |algorithm: Algorithm, kid: Option<String>, claims: &Value, key: &[u8]| {
        let header = Header { kid, ..Header::new(algorithm) };
        encode(&header, claims, &EncodingKey::from_secret(key)).expect("a token")
    };
    let usual = claims(&world, session);
    let rightly = sign(Algorithm::HS256, kid.clone(), &usual, &key);
    let list = rows::all().into_iter().find(|row| row.operation == "GET /api/tickets").expect("a row");
    assert_eq!(
        world.ask(&list, "/api/tickets", Some(&rightly)).await.0,
        200,
        "the forger knows how a good one is made"
    );

    let parts: Vec<&str> = rightly.split('.').collect();
    // {"alg":"none","typ":"JWT"}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    let hour_ago = (now - TimeDelta::hours(1)).timestamp();
    let ended = world.session(world.dora, now + TimeDelta::days(1)).await;
    let mut tx = world.desk.db.begin().await.expect("a transaction");
    access::end_sessions(&mut tx, world.dora, None, now).await.expect("ended");
    tx.commit().await.expect("a commit");
    let fresh = world.session(world.dora, now + TimeDelta::days(1)).await;
    let live = claims(&world, fresh);
    let tokens = [
        ("expired", sign(Algorithm::HS256, kid.clone(), &with(live.clone(), "exp", json!(hour_ago)), &key)),
        ("not yet issued", {
            let later = (now + TimeDelta::hours(1)).timestamp();
            sign(Algorithm::HS256, kid.clone(), &with(live.clone(), "iat", json!(later)), &key)
        }),
        ("alg none", format!("{none}.{}.", parts[1])),
        ("alg none with the signature", format!("{none}.{}.{}", parts[1], parts[2])),
        ("another algorithm with the right key", sign(Algorithm::HS384, kid.clone(), &live, &key)),
        ("and another", sign(Algorithm::HS512, kid.clone(), &live, &key)),
        // {"alg":"RS256","kid":…}: what is signed for the one is shown as the other.
        ("HMAC shown as RSA", {
            let header = json!({"alg": "RS256", "typ": "JWT", "kid": kid}).to_string();
            format!("{}.{}.{}", base64_url(header.as_bytes()), parts[1], parts[2])
        }),
        ("no kid", sign(Algorithm::HS256, None, &live, &key)),
        ("wrong kid", sign(Algorithm::HS256, Some("deadbeef".to_owned()), &live, &key)),
        ("wrong key", sign(Algorithm::HS256, kid.clone(), &live, b"another key that nobody has taken")),
        (
            "wrong audience",
            sign(Algorithm::HS256, kid.clone(), &with(live.clone(), "aud", json!("others")), &key),
        ),
        (
            "wrong issuer",
            sign(Algorithm::HS256, kid.clone(), &with(live.clone(), "iss", json!("others")), &key),
        ),
        ("revoked session", sign(Algorithm::HS256, kid.clone(), &claims(&world, ended), &key)),
        ("no such session", sign(Algorithm::HS256, kid.clone(), &claims(&world, 999_999), &key)),
        ("an API token that nobody made", format!("tdk_{}", "A".repeat(43))),
        ("a changed claim", format!("{}.{}.{}", parts[0], parts[1].replacen('a', "b", 1), parts[2])),
        ("empty", String::new()),
    ];
    let good_again = AccessTokens::new(&masters, 15).issue(world.dora, fresh, now).expect("a token");
    assert_eq!(world.ask(&list, "/api/tickets", Some(&good_again)).await.0, 200);
    let mut wrong = Vec::new();
    for row in rows::all().iter().filter(|row| row.rule != Rule::Anyone) {
        let path = world.fill(row).await;
        for (name, token) in &tokens {
            let (status, _) = world.ask(row, &path, Some(token)).await;
            if status != 401 {
                wrong.push(format!("{} with a token that is {name}: {status}", row.operation));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    world.close().await;
}

/// Base64url without padding (RFC 4648 §5), as JSON Web Tokens have it.
fn base64_url(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0_u32, |bits, byte| (bits << 8) | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for n in 0..=chunk.len() {
            text.push(char::from(LETTERS[(bits >> (18 - 6 * n)) as usize & 63]));
        }
    }
    text
}
