//! AWS keys from where AWS's own tools look for them.
//!
//! <https://docs.aws.amazon.com/sdkref/latest/guide/standardized-credentials.html>

use std::path::Path;

use http::Method;
use serde::Deserialize;
use zeroize::Zeroizing;

use super::client::read_secret;
use super::endpoints::secret;
use super::outside::{Outside, Question, misfit, refused};
use crate::credentials::{AwsKeySource, SourceError};
use crate::secret::Secret;

/// What to sign with. No `Debug`: the names alone are not worth it.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) access_key_id: String,
    pub(super) secret_access_key: Secret,
    pub(super) session_token: Option<Secret>,
}

/// The keys for one login.
pub(super) async fn find(source: &AwsKeySource, outside: &Outside) -> Result<Keys, SourceError> {
    match source {
        AwsKeySource::Environment { access_key_id, secret_access_key, session_token } => Ok(Keys {
            access_key_id: access_key_id.clone(),
            secret_access_key: secret_access_key.clone(),
            session_token: session_token.clone(),
        }),
        AwsKeySource::File { file, profile } => {
            let text = read_secret(file, "the AWS credentials")
                .await
                .map_err(|message| SourceError::Misconfigured { message })?;
            in_profile(text.expose(), profile, file).map_err(|message| SourceError::Misconfigured { message })
        }
        AwsKeySource::WebIdentity { token_file, role_arn, session_name, endpoint } => {
            let token = read_secret(token_file, "the web identity token")
                .await
                .map_err(|message| SourceError::Misconfigured { message })?;
            by_web_identity(outside, endpoint, role_arn, session_name, &token).await
        }
        AwsKeySource::Instance { endpoint } => of_the_instance(outside, endpoint).await,
    }
}

/// The keys of one profile of the shared credentials file.
fn in_profile(text: &str, profile: &str, file: &Path) -> Result<Keys, String> {
    let mut section = None;
    let (mut found, mut id, mut key, mut token) = (false, None, None, None);
    for line in text.lines().map(str::trim).filter(|line| !line.starts_with(['#', ';'])) {
        if let Some(name) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            section = Some(name.0.trim());
            found |= section == Some(profile);
        } else if section == Some(profile)
            && let Some((name, value)) = line.split_once('=')
        {
            let value = Some(value.trim()).filter(|value| !value.is_empty());
            match name.trim() {
                "aws_access_key_id" => id = value,
                "aws_secret_access_key" => key = value,
                "aws_session_token" => token = value,
                _ => {}
            }
        }
    }
    let secret = |text: &str| Secret::new(text.to_owned());
    match (found, id, key) {
        (true, Some(id), Some(key)) => Ok(Keys {
            access_key_id: id.to_owned(),
            secret_access_key: secret(key),
            session_token: token.map(secret),
        }),
        (true, ..) => Err(format!(
            "profile {profile:?} in {} has no aws_access_key_id and aws_secret_access_key, which is all that is read of it",
            file.display()
        )),
        (false, ..) => Err(format!("{} has no profile {profile:?}; set AWS_PROFILE", file.display())),
    }
}

/// `sts:AssumeRoleWithWebIdentity`, which needs no signature.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/API_AssumeRoleWithWebIdentity.html>
async fn by_web_identity(
    outside: &Outside,
    endpoint: &str,
    role_arn: &str,
    session_name: &str,
    token: &Secret,
) -> Result<Keys, SourceError> {
    let who = format!("STS at {endpoint}");
    let form = Zeroizing::new(
        url::form_urlencoded::Serializer::new(String::new())
            .append_pair("Action", "AssumeRoleWithWebIdentity")
            .append_pair("Version", "2011-06-15")
            .append_pair("DurationSeconds", "900")
            .append_pair("RoleArn", role_arn)
            .append_pair("RoleSessionName", session_name)
            .append_pair("WebIdentityToken", token.expose())
            .finish(),
    );
    let url = format!("{}/", endpoint.trim_end_matches('/'));
    let question = Question { who: &who, method: Method::POST, url: &url, headers: &[], form: Some(&form) };
    let said = outside.ask(question).await?;
    let text = std::str::from_utf8(&said.body).map_err(|_| misfit(&who))?;
    if said.status != 200 {
        // The code only: the message may repeat what was sent.
        let code = element(text, "Code").filter(|code| code.chars().all(char::is_alphanumeric));
        let why = code.map(|code| format!(" ({code}: check AWS_ROLE_ARN, its trust policy and the token)"));
        return Err(refused(&who, said.status, &why.unwrap_or_default()));
    }
    let secret = |name| element(text, name).map(|text| Secret::new(text.to_owned()));
    match (element(text, "AccessKeyId"), secret("SecretAccessKey"), secret("SessionToken")) {
        (Some(id), Some(secret_access_key), session_token @ Some(_)) => {
            Ok(Keys { access_key_id: id.to_owned(), secret_access_key, session_token })
        }
        _ => Err(misfit(&who)),
    }
}

/// The text of an element that holds nothing but text; keys are written without entities.
fn element<'a>(xml: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    let (text, _) = rest.split_once(&format!("</{name}>"))?;
    let text = text.trim();
    (!text.is_empty() && !text.contains(['<', '&'])).then_some(text)
}

/// The instance metadata service, version 2: a token first, with which to ask.
/// <https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-metadata-security-credentials.html>
async fn of_the_instance(outside: &Outside, endpoint: &str) -> Result<Keys, SourceError> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Role {
        access_key_id: String,
        #[serde(deserialize_with = "secret")]
        secret_access_key: Secret,
        #[serde(deserialize_with = "secret")]
        token: Secret,
    }
    let who = format!("the instance metadata service at {endpoint}");
    let base = format!("{}/latest", endpoint.trim_end_matches('/'));
    let url = format!("{base}/api/token");
    let lives = [("X-aws-ec2-metadata-token-ttl-seconds", "60")];
    let question = Question { who: &who, method: Method::PUT, url: &url, headers: &lives, form: None };
    let token = outside.text(question, " (is version 2 switched off?)").await?;
    let headers = [("X-aws-ec2-metadata-token", token.trim())];
    let get = |url| Question { who: &who, method: Method::GET, url, headers: &headers, form: None };
    let roles = format!("{base}/meta-data/iam/security-credentials/");
    let said = outside.ask(get(&roles)).await?;
    let names = String::from_utf8_lossy(&said.body);
    let role = match (said.status, names.lines().next().map(str::trim)) {
        (200, Some(role)) if is_role_name(role) => role,
        (200 | 404, _) => {
            return Err(SourceError::Misconfigured {
                message: format!("{who} knows no role of this machine; attach an instance profile"),
            });
        }
        (status, _) => return Err(refused(&who, status, "")),
    };
    let json = outside.text(get(&format!("{roles}{role}")), "").await?;
    let role: Role = serde_json::from_str(&json).map_err(|_| misfit(&who))?;
    Ok(Keys {
        access_key_id: role.access_key_id,
        secret_access_key: role.secret_access_key,
        session_token: Some(role.token),
    })
}

/// As IAM allows them, so that what the service says stays one segment of a path.
fn is_role_name(name: &str) -> bool {
    !name.is_empty()
        && name.chars().all(|c| c.is_ascii_alphanumeric() || "+=,.@_-".contains(c))
        && name != ".."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_profile_has_its_own_keys() {
        let text = "# keys\n[default]\naws_access_key_id = A\naws_secret_access_key=b=c\n\n[ci]\n\
                    aws_access_key_id=D\naws_secret_access_key = e\naws_session_token = f==\n[none]\nregion = x\n";
        let keys = |profile| in_profile(text, profile, Path::new("/c"));
        let default = keys("default").ok().unwrap();
        assert_eq!((default.access_key_id.as_str(), default.secret_access_key.expose()), ("A", "b=c"));
        assert!(default.session_token.is_none());
        let ci = keys("ci").ok().unwrap();
        assert_eq!(ci.session_token.unwrap().expose(), "f==");
        assert!(keys("none").err().unwrap().contains("has no aws_access_key_id"));
        assert!(keys("other").err().unwrap().contains("no profile \"other\""));
    }

    #[test]
    fn an_element_is_text_and_nothing_else() {
        let xml = "<R><Code> AccessDenied </Code><Bad>a&amp;b</Bad><In><X>1</X></In></R>";
        assert_eq!(element(xml, "Code"), Some("AccessDenied"));
        for name in ["Bad", "In", "None"] {
            assert_eq!(element(xml, name), None, "{name}");
        }
    }
}
