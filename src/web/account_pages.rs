//! The few pages that links in mails lead to: confirm an address, choose a password, add a sign-in. They run no script, and
//! act on a button only: programs that look through mail follow links.

use axum::Router;
use axum::extract::rejection::{FormRejection, QueryRejection};
use axum::extract::{Form, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;

use super::State as Shared;
use super::error::Error;
use super::oidc::Provider;
use super::request::Client;
use crate::people::accounts::{self, AccountError};
use crate::people::external::{self, SignInError};
use crate::queue;

pub(super) fn router() -> Router<Shared> {
    Router::new()
        .route("/account/confirm", get(show_confirm).post(confirm))
        .route("/account/reset", get(show_reset).post(reset))
        .route("/account/link", get(show_link).post(link))
}

/// Nothing is loaded, nothing runs, forms come to us alone. The hash is of [`STYLE`].
const POLICY: &str = "default-src 'none'; style-src 'sha256-2e1vo/KInj3aHDasfNH5kE2wPtkVXPd4KIjnYIQKyNI='; form-action 'self'; \
                      base-uri 'none'; frame-ancestors 'none'";
const STYLE: &str = "body{font:16px/1.5 sans-serif;max-width:32em;margin:3em auto;padding:0 1em;color:#222;background:#fff}\
                     label{display:block;margin:1em 0 .3em}input{font:inherit;width:100%;box-sizing:border-box;padding:.4em}\
                     button{font:inherit;margin:1.5em 0;padding:.5em 1.5em}.wrong{color:#a00}";

/// A page for people.
#[derive(Debug)]
pub(super) struct Page {
    status: StatusCode,
    title: String,
    /// HTML, escaped.
    body: String,
}

impl Page {
    fn new(title: &str, text: &str) -> Self {
        let body = format!("<p>{}</p>", escape(text));
        Self { status: StatusCode::OK, title: title.to_owned(), body }
    }

    pub(super) fn refusal(status: StatusCode, title: &str, text: &str) -> Self {
        let body = format!("<p class=\"wrong\">{}</p>", escape(text));
        Self { status, title: title.to_owned(), body }
    }

    fn form(mut self, action: &str, fields: &str, button: &str) -> Self {
        self.body.push_str(&format!(
            "<form method=\"post\" action=\"{}\">{fields}<button>{}</button></form>",
            escape(action),
            escape(button)
        ));
        self
    }

    /// With what went wrong the last time.
    fn saying(mut self, status: StatusCode, text: &str) -> Self {
        self.status = status;
        self.body = format!("<p class=\"wrong\">{}</p>{}", escape(text), self.body);
        self
    }

    /// With a way to try once more.
    pub(super) fn again(mut self, provider: &Provider) -> Self {
        let name = escape(provider.name());
        self.body.push_str(&format!("<p><a href=\"/api/auth/oidc/start\">Sign in by {name} again</a></p>"));
        self
    }
}

impl IntoResponse for Page {
    fn into_response(self) -> Response {
        let title = escape(&self.title);
        let html = format!(
            "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
             content=\"width=device-width\"><meta name=\"robots\" content=\"noindex\"><title>{title}</title>\
             <style>{STYLE}</style></head><body><h1>{title}</h1>{}</body></html>",
            self.body
        );
        let policy = [(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY))];
        (self.status, policy, Html(html)).into_response()
    }
}

/// Text in an element or between quotation marks.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            other => escaped.push(other),
        }
    }
    escaped
}

fn hidden(name: &str, value: &str) -> String {
    format!("<input type=\"hidden\" name=\"{name}\" value=\"{}\">", escape(value))
}

fn field(name: &str, kind: &str, label: &str, more: &str) -> String {
    format!(
        "<label for=\"{name}\">{label}</label><input id=\"{name}\" name=\"{name}\" type=\"{kind}\" {more}>"
    )
}

const CURRENT: &str = "autocomplete=\"current-password\" required maxlength=\"512\"";
const NEW: &str = "autocomplete=\"new-password\" required minlength=\"10\" maxlength=\"512\"";
const CODE: &str = "autocomplete=\"one-time-code\" maxlength=\"40\"";

#[derive(Deserialize)]
struct Followed {
    #[serde(default)]
    token: String,
}

/// What was typed into one of the forms.
#[derive(Deserialize)]
struct Typed {
    #[serde(default)]
    token: SecretString,
    #[serde(default)]
    email: String,
    password: Option<SecretString>,
    code: Option<String>,
}

type FollowedLink = Result<Query<Followed>, QueryRejection>;
type TypedForm = Result<Form<Typed>, FormRejection>;

fn token_of(followed: FollowedLink) -> String {
    followed.map(|Query(followed)| followed.token).unwrap_or_default()
}

/// Whatever cannot be read is an empty form: it is shown again.
fn typed_in(form: TypedForm) -> Typed {
    match form {
        Ok(Form(typed)) => typed,
        Err(_) => Typed { token: SecretString::default(), email: String::new(), password: None, code: None },
    }
}

fn confirm_form(token: &str) -> Page {
    let fields = hidden("token", token) + &field("password", "password", "Password", CURRENT);
    Page::new("Confirm your account", "Type the password that you chose when you signed up.").form(
        "/account/confirm",
        &fields,
        "Confirm",
    )
}

async fn show_confirm(followed: FollowedLink) -> Page {
    confirm_form(&token_of(followed))
}

async fn confirm(
    State(state): State<Shared>,
    Client(client): Client,
    form: TypedForm,
) -> Result<Page, Error> {
    let typed = typed_in(form);
    state.limits.log_in(client, typed.token.expose_secret())?;
    let (now, password) = (state.clock.now(), typed.password.unwrap_or_default());
    match accounts::confirm_sign_up(&state.db, &state.letter_key, &typed.token, password, now).await {
        Ok(_) => Ok(Page::new("Your account is ready", "Your address is confirmed. You can log in now.")),
        Err(error @ AccountError::NotTheChosenPassword { .. }) => {
            let form = confirm_form(typed.token.expose_secret());
            Ok(form.saying(StatusCode::BAD_REQUEST, &sentence(&error)))
        }
        Err(error) => account_refused(error),
    }
}

fn reset_form(token: &str) -> Page {
    let fields = hidden("token", token) + &field("password", "password", "New password", NEW);
    let text = "It has at least 10 characters. You will be logged out everywhere.";
    Page::new("Choose a new password", text).form("/account/reset", &fields, "Change it")
}

fn ask_form() -> Page {
    let fields = field("email", "email", "Mail address", "autocomplete=\"email\" required maxlength=\"254\"");
    let text = "Type your mail address, and a link to choose a new password is mailed to it.";
    Page::new("Choose a new password", text).form("/account/reset", &fields, "Send the link")
}

async fn show_reset(followed: FollowedLink) -> Page {
    let token = token_of(followed);
    if token.is_empty() { ask_form() } else { reset_form(&token) }
}

async fn reset(State(state): State<Shared>, Client(client): Client, form: TypedForm) -> Result<Page, Error> {
    let typed = typed_in(form);
    let now = state.clock.now();
    if typed.token.expose_secret().is_empty() {
        state.limits.letter(client)?;
        return match accounts::ask_for_reset(&state.db, &state.config, &typed.email, now).await {
            Ok(()) => {
                queue::ring(&state.db).await;
                let text = "If the address has an account, a link to choose a new password was mailed to it.";
                Ok(Page::new("Look into your mail", text))
            }
            Err(error @ (AccountError::NotAnAddress | AccountError::OwnAddress)) => {
                Ok(ask_form().saying(StatusCode::BAD_REQUEST, &sentence(&error)))
            }
            Err(error) => account_refused(error),
        };
    }
    state.limits.log_in(client, typed.token.expose_secret())?;
    let password = typed.password.unwrap_or_default();
    match accounts::reset_password(&state.db, &state.letter_key, &typed.token, password, now).await {
        Ok(_) => {
            queue::ring(&state.db).await;
            Ok(Page::new("Your password is changed", "You can log in with it now."))
        }
        Err(error @ AccountError::WeakPassword(_)) => {
            let form = reset_form(typed.token.expose_secret());
            Ok(form.saying(StatusCode::BAD_REQUEST, &sentence(&error)))
        }
        Err(error) => account_refused(error),
    }
}

fn link_form(token: &str) -> Page {
    let label = "Code by your app, if your account asks for one";
    let fields = hidden("token", token) + &field("code", "text", label, CODE);
    let text = "You signed in by another service with the mail address of your account. Add this way to sign in to your account?";
    Page::new("A new way to sign in", text).form("/account/link", &fields, "Add it")
}

/// Shown to who signed in with the address of an account.
pub(super) fn must_link(provider: &str, token: &str) -> Page {
    let text = format!(
        "There is an account with your mail address already. Open the link that was just mailed to you, or type the password \
         of that account here. Then you can sign in by {provider}."
    );
    password_form(Page::new("Is this account yours?", &text), token)
}

fn password_form(page: Page, token: &str) -> Page {
    let label = "Code by your app, if the account asks for one";
    let fields = hidden("token", token)
        + &field("password", "password", "Password of the account", CURRENT)
        + &field("code", "text", label, CODE);
    page.form("/account/link", &fields, "Add this way to sign in")
}

async fn show_link(followed: FollowedLink) -> Page {
    link_form(&token_of(followed))
}

async fn link(State(state): State<Shared>, Client(client): Client, form: TypedForm) -> Result<Page, Error> {
    let typed = typed_in(form);
    let (token, now) = (typed.token.expose_secret().to_owned(), state.clock.now());
    state.limits.log_in(client, &token)?;
    let (db, key, code) = (&state.db, &state.letter_key, typed.code.as_deref());
    let with_password = typed.password.is_some();
    let linked = match typed.password {
        Some(password) => external::link_with_password(db, key, &typed.token, password, code, now).await,
        None => external::link_by_mail(db, key, &typed.token, code, now).await,
    };
    match linked {
        Ok(_) => {
            let page = Page::new("It is added", "You can sign in that way from now on.");
            Ok(match &state.oidc {
                Some(provider) => page.again(provider),
                None => page,
            })
        }
        Err(error @ (SignInError::WrongPassword { .. } | SignInError::NeedsCode | SignInError::Code(_))) => {
            let form = if with_password {
                password_form(Page::new("Is this account yours?", "Try once more."), &token)
            } else {
                link_form(&token)
            };
            Ok(form.saying(StatusCode::BAD_REQUEST, &sentence(&error)))
        }
        Err(error) => refused(error),
    }
}

fn account_refused(error: AccountError) -> Result<Page, Error> {
    match error {
        AccountError::Database(_) | AccountError::Other(_) => Err(error.into()),
        error => {
            let page = Page::refusal(StatusCode::BAD_REQUEST, "That did not work", &sentence(&error));
            Ok(page)
        }
    }
}

/// A page that says why nobody was signed in, unless it is our own fault.
pub(super) fn refused(error: SignInError) -> Result<Page, Error> {
    match error {
        SignInError::Database(_) | SignInError::Other(_) => Err(error.into()),
        error => Ok(Page::refusal(StatusCode::FORBIDDEN, "Not signed in", &sentence(&error))),
    }
}

/// An error's text as people read it.
fn sentence(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let mut letters = text.chars();
    let first = letters.next().map(|c| c.to_uppercase().to_string()).unwrap_or_default();
    format!("{first}{}.", letters.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use sha2::{Digest, Sha256};

    #[test]
    fn the_policy_lets_this_style_in_and_nothing_else() {
        let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(STYLE));
        assert!(POLICY.contains(&format!("'sha256-{hash}'")), "the hash is {hash}");
    }

    #[test]
    fn what_a_link_holds_stays_text() {
        let page = link_form("\"><script>alert(1)</script>");
        assert!(
            page.body.contains("value=\"&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;\""),
            "{}",
            page.body
        );
    }
}
