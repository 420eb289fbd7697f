//! Speaks with the provider that vouches for people (OpenID Connect, code flow with PKCE), and believes only what it must:
//! whatever the crate does not check is checked here.

use std::time::Duration;

use anyhow::{Context, anyhow};
use chrono::{DateTime, TimeDelta, Utc};
use openidconnect::core::{
    CoreAuthDisplay, CoreAuthPrompt, CoreAuthenticationFlow, CoreClientAuthMethod, CoreErrorResponseType,
    CoreGenderClaim, CoreJsonWebKey, CoreJsonWebKeySet, CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm, CoreProviderMetadata, CoreRevocableToken, CoreRevocationErrorResponse,
    CoreTokenIntrospectionResponse, CoreTokenType,
};
use openidconnect::{
    AdditionalClaims, AuthType, AuthorizationCode, ClaimsVerificationError, Client, ClientId, ClientSecret,
    CsrfToken, EmptyExtraTokenFields, EndpointMaybeSet, EndpointNotSet, EndpointSet, HttpRequest,
    HttpResponse, IdTokenClaims, IdTokenFields, IssuerUrl, Nonce, PkceCodeChallenge, PkceCodeVerifier,
    RedirectUrl, Scope, SignatureVerificationError, StandardErrorResponse, StandardTokenResponse,
    TokenResponse,
};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use crate::config::{self, Config, is_loopback};
use crate::mail::address;
use crate::people::external::{Begin, Visitor};

/// One request to the provider: a person waits for it in a browser.
/// Google's issuer.
const GOOGLE: &str = "https://accounts.google.com";
const PATIENCE: Duration = Duration::from_secs(10);
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// No answer of a provider is longer.
const LONGEST_ANSWER: usize = 1024 * 1024;
/// What a provider says of itself is asked for again after so long.
const KNOWN_FOR: TimeDelta = TimeDelta::hours(24);
/// Clocks differ.
const LEEWAY: TimeDelta = TimeDelta::seconds(60);

/// What comes with an ID token of Google Workspace.
#[derive(Clone, Debug, Deserialize, Serialize)]
struct Workspace {
    /// The domain whose account it is.
    hd: Option<String>,
}
impl AdditionalClaims for Workspace {}

type Fields = IdTokenFields<
    Workspace,
    EmptyExtraTokenFields,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJwsSigningAlgorithm,
>;
type Claims = IdTokenClaims<Workspace, CoreGenderClaim>;
type Known = Client<
    Workspace,
    CoreAuthDisplay,
    CoreGenderClaim,
    CoreJweContentEncryptionAlgorithm,
    CoreJsonWebKey,
    CoreAuthPrompt,
    StandardErrorResponse<CoreErrorResponseType>,
    StandardTokenResponse<Fields, CoreTokenType>,
    CoreTokenIntrospectionResponse,
    CoreRevocableToken,
    CoreRevocationErrorResponse,
    EndpointSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointMaybeSet,
>;

/// Only signatures that nobody but the provider can make: with HS256 the client secret would do.
const SIGNATURES: [CoreJwsSigningAlgorithm; 9] = [
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha256,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha384,
    CoreJwsSigningAlgorithm::RsaSsaPkcs1V15Sha512,
    CoreJwsSigningAlgorithm::RsaSsaPssSha256,
    CoreJwsSigningAlgorithm::RsaSsaPssSha384,
    CoreJwsSigningAlgorithm::RsaSsaPssSha512,
    CoreJwsSigningAlgorithm::EcdsaP256Sha256,
    CoreJwsSigningAlgorithm::EcdsaP384Sha384,
    CoreJwsSigningAlgorithm::EdDsa,
];

/// Why nobody was vouched for.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// The provider vouches, and not for what we ask.
    #[error("{0}")]
    Refused(String),
    /// What the provider sent cannot be believed.
    #[error("the provider's answer cannot be believed")]
    Unbelievable(#[source] anyhow::Error),
    #[error("the provider does not answer as it should")]
    Unreachable(#[source] anyhow::Error),
}

/// A provider, as it is configured and as it describes itself.
pub struct Provider {
    config: config::Oidc,
    secret: ClientSecret,
    issuer: IssuerUrl,
    redirect: RedirectUrl,
    http: reqwest::Client,
    known: Mutex<Option<(CoreProviderMetadata, DateTime<Utc>)>>,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Provider({})", self.config.issuer)
    }
}

impl Provider {
    /// The configured provider. It is not asked anything yet: that it is away must not keep us from starting.
    pub fn new(config: &Config) -> anyhow::Result<Option<Self>> {
        let Some(oidc) = &config.oidc else { return Ok(None) };
        let issuer = IssuerUrl::new(oidc.issuer.clone()).context("oidc: issuer is no URL")?;
        let redirect = format!("{}/api/auth/oidc/callback", config.http.base_url());
        let mut http = reqwest::Client::builder()
            .use_rustls_tls()
            .connect_timeout(CONNECT_WITHIN)
            .timeout(PATIENCE)
            .redirect(reqwest::redirect::Policy::none());
        if issuer.url().host_str().is_some_and(is_loopback) {
            // A proxy of the environment can't reach our own loopback.
            http = http.no_proxy();
        }
        Ok(Some(Self {
            secret: ClientSecret::new(oidc.secret()?.expose_secret().to_owned()),
            config: oidc.clone(),
            issuer,
            redirect: RedirectUrl::new(redirect).context("http.public_url is no URL")?,
            http: http.build().context("could not set up the HTTP client for the provider")?,
            known: Mutex::new(None),
        }))
    }

    /// What people call it.
    pub fn name(&self) -> &str {
        &self.config.name
    }

    pub fn issuer(&self) -> &str {
        self.issuer.as_str()
    }

    /// A secret between this sign-in and its code, and what is shown of it at the start (RFC 7636).
    pub fn pkce() -> (PkceCodeChallenge, PkceCodeVerifier) {
        PkceCodeChallenge::new_random_sha256()
    }

    /// Where the browser goes to sign in.
    pub async fn authorize_url(
        &self,
        begin: &Begin,
        challenge: PkceCodeChallenge,
        now: DateTime<Utc>,
    ) -> Result<String, OidcError> {
        let client = self.client(self.metadata(now).await?);
        let (state, nonce) =
            (CsrfToken::new(begin.state.expose().to_owned()), Nonce::new(begin.nonce.clone()));
        let (url, ..) = client
            .authorize_url(CoreAuthenticationFlow::AuthorizationCode, || state, || nonce)
            .add_scope(Scope::new("email".to_owned()))
            .add_scope(Scope::new("profile".to_owned()))
            .set_pkce_challenge(challenge)
            .url();
        Ok(url.into())
    }

    /// Whom the provider vouches for, by the code that the browser brought back.
    pub async fn visitor(
        &self,
        code: String,
        pkce_verifier: String,
        nonce: String,
        now: DateTime<Utc>,
    ) -> Result<Visitor, OidcError> {
        let http = |request| fetch(self.http.clone(), request);
        let metadata = self.metadata(now).await?;
        let client = self.client(metadata.clone());
        let tokens = client
            .exchange_code(AuthorizationCode::new(code))
            .map_err(|e| OidcError::Unreachable(anyhow!("it names no token endpoint: {e}")))?
            .set_pkce_verifier(PkceCodeVerifier::new(pkce_verifier))
            .request_async(&http)
            .await
            // The error may carry the whole answer, tokens and all: only its kind is told.
            .map_err(|e| OidcError::Unreachable(anyhow!("the code was not exchanged: {}", kind_of(&e))))?;
        let token =
            tokens.id_token().ok_or_else(|| OidcError::Unbelievable(anyhow!("there is no ID token")))?;
        let nonce = Nonce::new(nonce);
        let claims = match token.claims(&verifier(&client, now), &nonce) {
            Err(ClaimsVerificationError::SignatureVerification(
                SignatureVerificationError::NoMatchingKey,
            )) => {
                // Keys change; which there are now is asked for once.
                let client = self.client(self.with_fresh_keys(metadata, now).await?);
                token.claims(&verifier(&client, now), &nonce).cloned()
            }
            other => other.cloned(),
        };
        let claims = claims.map_err(|e| OidcError::Unbelievable(anyhow::Error::from(e)))?;
        self.check(&claims)
    }

    /// What the crate leaves to us.
    fn check(&self, claims: &Claims) -> Result<Visitor, OidcError> {
        let name = self.name();
        let refused = |why: String| Err(OidcError::Refused(why));
        let Some(email) = claims.email().map(|email| address::canonical(email)) else {
            return refused(format!("{name} did not tell us your mail address: allow it, and sign in again"));
        };
        if claims.email_verified() != Some(true) {
            return refused(format!(
                "{name} has not checked that your mail address is yours: confirm it there, and sign in again"
            ));
        }
        let domain = address::split(&email).map(|(_, domain)| domain).unwrap_or_default();
        let hosted = claims.additional_claims().hd.as_deref();
        // A private Google account may carry an address of an organization, and keep it when its owner has left there.
        let is_private = self.issuer.as_str().trim_end_matches('/') == GOOGLE
            && !self.config.allowed_domains.is_empty()
            && hosted.is_none()
            && !["gmail.com", "googlemail.com"].contains(&domain);
        if is_private || !self.config.allows(domain) || hosted.is_some_and(|hd| !self.config.allows(hd)) {
            return refused(
                "Only people of certain organizations may sign in here, and your address is not in one of them"
                    .to_owned(),
            );
        }
        let called = claims.name().and_then(|names| names.get(None)).map(|name| name.as_str().to_owned());
        Ok(Visitor {
            issuer: self.issuer.as_str().to_owned(),
            subject: claims.subject().as_str().to_owned(),
            email,
            name: called,
        })
    }

    /// What the provider says of itself, asked for once a day.
    async fn metadata(&self, now: DateTime<Utc>) -> Result<CoreProviderMetadata, OidcError> {
        let known = self.known.lock().await.clone();
        if let Some((metadata, _)) = known.filter(|(_, since)| now - *since < KNOWN_FOR) {
            return Ok(metadata);
        }
        // Without the lock: where the provider is away, nobody waits for somebody else's time-out.
        let http = |request| fetch(self.http.clone(), request);
        let metadata = CoreProviderMetadata::discover_async(self.issuer.clone(), &http)
            .await
            .map_err(|e| OidcError::Unreachable(anyhow::Error::from(e)))?;
        *self.known.lock().await = Some((metadata.clone(), now));
        Ok(metadata)
    }

    async fn with_fresh_keys(
        &self,
        metadata: CoreProviderMetadata,
        now: DateTime<Utc>,
    ) -> Result<CoreProviderMetadata, OidcError> {
        let http = |request| fetch(self.http.clone(), request);
        let keys = CoreJsonWebKeySet::fetch_async(metadata.jwks_uri(), &http)
            .await
            .map_err(|e| OidcError::Unreachable(anyhow::Error::from(e)))?;
        let metadata = metadata.set_jwks(keys);
        *self.known.lock().await = Some((metadata.clone(), now));
        Ok(metadata)
    }

    fn client(&self, metadata: CoreProviderMetadata) -> Known {
        // RFC 6749 §2.3.1 has every server take the secret as HTTP Basic; some say that they do not.
        let methods = metadata.token_endpoint_auth_methods_supported();
        let takes = |method| methods.is_none_or(|list| list.contains(&method));
        let auth = if takes(CoreClientAuthMethod::ClientSecretBasic) {
            AuthType::BasicAuth
        } else {
            AuthType::RequestBody
        };
        let id = ClientId::new(self.config.client_id.clone());
        Known::from_provider_metadata(metadata, id, Some(self.secret.clone()))
            .set_redirect_uri(self.redirect.clone())
            .set_auth_type(auth)
    }
}

fn verifier(client: &Known, now: DateTime<Utc>) -> openidconnect::core::CoreIdTokenVerifier<'_> {
    client
        .id_token_verifier()
        .set_allowed_algs(SIGNATURES)
        .set_time_fn(move || now)
        .set_issue_time_verifier_fn(move |issued| {
            if issued > now + LEEWAY { Err("issued in the future".to_owned()) } else { Ok(()) }
        })
}

fn kind_of<RE: std::error::Error, T: openidconnect::ErrorResponse>(
    error: &openidconnect::RequestTokenError<RE, T>,
) -> &'static str {
    use openidconnect::RequestTokenError::{Other, Parse, Request, ServerResponse};
    match error {
        ServerResponse(_) => "the provider refused it",
        Request(_) => "the provider cannot be reached",
        Parse(..) => "the provider's answer cannot be read",
        Other(_) => "the provider's answer is not what it should be",
    }
}

/// Why a request to the provider failed.
#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error("the provider cannot be reached")]
    Http(#[from] reqwest::Error),
    #[error("the provider's answer is longer than {LONGEST_ANSWER} bytes")]
    TooLong,
    #[error("the provider's answer cannot be read")]
    Odd(#[from] openidconnect::http::Error),
}

/// One request, with an end to what is read of its answer.
async fn fetch(client: reqwest::Client, request: HttpRequest) -> Result<HttpResponse, FetchError> {
    let mut response = client.execute(request.try_into()?).await.map_err(reqwest::Error::without_url)?;
    let mut answer = openidconnect::http::Response::builder().status(response.status());
    for (name, value) in response.headers() {
        answer = answer.header(name, value);
    }
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            return Err(FetchError::TooLong);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(answer.body(body)?)
}
