//! What is said of the clouds' keys and variables, and which of several count.

use crate::config::{Loaded, ThisHost, explain, parse};
use crate::credentials::{AwsKeySource, VaultAuth};

const DATABASE: &str = "[databases.app]\nhost = \"127.0.0.1\"\ncredentials = { source = \"vault\", path = \"database/creds/app\" }\n";

type Variables<'a> = &'a [(&'a str, &'a str)];

fn loaded(auth: &str, variables: Variables<'_>) -> Result<Loaded, Vec<String>> {
    let text = format!("{DATABASE}[vault]\naddress = \"https://v\"\n[vault.auth]\n{auth}\n");
    let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    parse("f.toml", &text, variables)
        .map_err(|wrong| wrong.list.into_iter().map(|p| format!("{} | {}", p.what, p.advice)).collect())
}

fn auth_of(auth: &str, variables: &[(&str, &str)]) -> VaultAuth {
    loaded(auth, variables).unwrap().settings.vault.unwrap().auth
}

const AWS: &str = "method = \"aws\"\nrole = \"app\"";

#[test]
fn every_rule_of_the_clouds_is_told() {
    let cases: &[(&str, Variables<'_>, &str)] = &[
        ("method = \"aws\"", &[], "`vault.auth.role` is missing"),
        (
            "method = \"aws\"\nrole = \"r\"\nregion = \"Frankfurt am Main\"",
            &[],
            "`vault.auth.region` is no region | write for example",
        ),
        (
            "method = \"aws\"\nrole = \"r\"\nserver_id = \"a\\nb\"",
            &[],
            "`vault.auth.server_id` holds a character that no HTTP header may hold",
        ),
        (
            "method = \"jwt\"\nrole = \"r\"\njwt_file = \"/f\"\nserver_id = \"v\"",
            &[],
            "`vault.auth.server_id` belongs to method \"aws\"",
        ),
        ("method = \"gcp\"", &[], "`vault.auth.role` is missing"),
        ("method = \"azure\"", &[], "`vault.auth.role` is missing"),
        ("method = \"ldap\"\nusername = \"u\"", &[], "`vault.auth.password_file` is missing"),
        (
            "method = \"gcp\"\nrole = \"r\"\nresource = \"x\"",
            &[],
            "`vault.auth.resource` belongs to method \"azure\"",
        ),
        (
            "method = \"gcp\"\nrole = \"r\"",
            &[("GCE_METADATA_HOST", "a b")],
            "GCE_METADATA_HOST is not a host",
        ),
        (AWS, &[("AWS_ACCESS_KEY_ID", "A")], "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY go together"),
        (
            AWS,
            &[("AWS_WEB_IDENTITY_TOKEN_FILE", "/t")],
            "AWS_WEB_IDENTITY_TOKEN_FILE is set and AWS_ROLE_ARN",
        ),
        (AWS, &[("AWS_EC2_METADATA_DISABLED", "true")], "there are no AWS keys to sign the login with"),
        (
            AWS,
            &[("AWS_EC2_METADATA_SERVICE_ENDPOINT", "169.254.169.254")],
            "AWS_EC2_METADATA_SERVICE_ENDPOINT is not an http or https URL",
        ),
    ];
    for (auth, variables, expected) in cases {
        let told = loaded(auth, variables).unwrap_err();
        assert_eq!(told.len(), 1, "{auth}: {told:?}");
        assert!(told[0].starts_with(expected), "{auth}: {told:?}");
    }
}

#[test]
fn of_several_places_for_aws_keys_the_first_counts() {
    let mut variables = vec![
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_WEB_IDENTITY_TOKEN_FILE", "/token"),
        ("AWS_ROLE_ARN", "arn:aws:iam::1:role/app"),
        ("AWS_SHARED_CREDENTIALS_FILE", "/keys"),
        ("AWS_PROFILE", "ci"),
    ];
    let keys = |variables: &[(&str, &str)], region: &str| {
        let VaultAuth::Aws(aws) = auth_of(&format!("{AWS}\n{region}"), variables) else { panic!() };
        aws.keys
    };
    let first = keys(&variables, "");
    assert!(matches!(&first, AwsKeySource::Environment { access_key_id, .. } if access_key_id == "AKID"));
    assert!(!format!("{first:?}").contains("hunter2"));
    variables.drain(..2);
    let second = keys(&variables, "region = \"eu-west-1\"");
    let sts = "https://sts.eu-west-1.amazonaws.com";
    assert!(matches!(&second, AwsKeySource::WebIdentity { endpoint, .. } if endpoint == sts), "{second:?}");
    variables.drain(..2);
    let third = keys(&variables, "");
    assert!(matches!(&third, AwsKeySource::File { profile, .. } if profile == "ci"), "{third:?}");
    let last = keys(&[("HOME", "/none")], "");
    assert!(matches!(&last, AwsKeySource::Instance { endpoint } if endpoint == "http://169.254.169.254"));
}

#[test]
fn check_tells_whom_a_machine_is_vouched_for_by() {
    let cases: &[(&str, Variables<'_>, &[&str])] = &[
        ("method = \"gcp\"\nrole = \"r\"", &[], &["auth/gcp/login", "http://metadata.google.internal"]),
        (
            "method = \"azure\"\nrole = \"r\"",
            &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:40342/")],
            &["auth/azure/login", "at http://127.0.0.1:40342 at", "https://management.azure.com/"],
        ),
        (
            "method = \"ldap\"\nusername = \"u\"",
            &[("LEASEHOLD_VAULT__AUTH__PASSWORD", "hunter2")],
            &["auth/ldap/login", "The password is from the environment."],
        ),
    ];
    for (auth, variables, parts) in cases {
        let told = explain(&loaded(auth, variables).unwrap(), &ThisHost);
        for part in *parts {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn check_tells_where_the_keys_come_from() {
    let variables = [
        ("AWS_ACCESS_KEY_ID", "AKID"),
        ("AWS_SECRET_ACCESS_KEY", "hunter2"),
        ("AWS_SESSION_TOKEN", "hunter3"),
    ];
    let told = explain(&loaded(&format!("{AWS}\nserver_id = \"v.example\""), &variables).unwrap(), &ThisHost);
    for part in ["come from the environment; they are temporary", "v.example", "sts.us-east-1.amazonaws.com"]
    {
        assert!(told.contains(part), "{part}: {told}");
    }
    assert!(!told.contains("hunter"), "{told}");
}
