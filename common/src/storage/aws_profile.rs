//! Profiles of Amazon's tools: keys, region and endpoint from `~/.aws/credentials` and `~/.aws/config`, which complete what
//! the environment gives.
//!
//! Profiles are read whenever a store is opened, also when it is opened again because its credentials were refused. Files
//! that another program rewrites with new keys therefore serve a run of days. Settings that need another service or program
//! to get keys (a role, single sign-on, `credential_process`) are refused by name.

use std::collections::BTreeMap;
use std::{fs, io};

use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey as Key};

/// Settings of a profile: the name in the files, and the client's key for it.
const KEYS: [(&str, Key); 3] = [
    ("aws_access_key_id", Key::AccessKeyId),
    ("aws_secret_access_key", Key::SecretAccessKey),
    ("aws_session_token", Key::Token),
];

/// Settings that get keys in ways that are not supported here.
const ELSEWHERE: [&str; 5] = ["role_arn", "sso_session", "sso_start_url", "credential_process", "login_session"];

/// A selected profile. Its values are secret, so it has no `Debug`.
struct Profile {
    name: String,
    values: BTreeMap<String, String>,
}

/// Completes `builder`, which knows the environment, with the selected profile.
pub(super) fn complete(builder: AmazonS3Builder) -> object_store::Result<AmazonS3Builder> {
    let variable = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    Profile::load(variable)
        .and_then(|profile| profile.complete(builder))
        .map_err(|reason| object_store::Error::Generic { store: "S3", source: reason.into() })
}

impl Profile {
    /// Loads the profile that the environment `variable` selects, or the default profile, which may be missing.
    fn load(variable: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let in_home = |file: &str| variable("HOME").map(|home| format!("{home}/.aws/{file}"));
        let config_file = variable("AWS_CONFIG_FILE").or_else(|| in_home("config"));
        let credentials_file = variable("AWS_SHARED_CREDENTIALS_FILE").or_else(|| in_home("credentials"));
        let selected = variable("AWS_PROFILE");
        let name = selected.clone().unwrap_or_else(|| "default".to_owned());

        let config = read(config_file.as_deref())?;
        // Only the default profile may go without the word `profile`.
        let bare = if name == "default" { section(&config, &name) } else { None };
        let config = section(&config, &format!("profile {name}")).or(bare);
        let credentials = section(&read(credentials_file.as_deref())?, &name);
        if selected.is_some() && config.is_none() && credentials.is_none() {
            let files = [config_file, credentials_file].into_iter().flatten().collect::<Vec<_>>().join(" or ");
            return Err(format!("there is no profile AWS_PROFILE = {name} in {files}"));
        }
        let (mut values, credentials) = (config.unwrap_or_default(), credentials.unwrap_or_default());
        if credentials.contains_key(KEYS[0].0) {
            // Keys belong together: none from another set may remain.
            KEYS.iter().for_each(|(key, _)| drop(values.remove(*key)));
        }
        values.extend(credentials);
        Ok(Profile { name, values })
    }

    fn complete(&self, mut builder: AmazonS3Builder) -> Result<AmazonS3Builder, String> {
        let has = |builder: &AmazonS3Builder, key| builder.get_config_value(&key).is_some();
        if !has(&builder, Key::Region)
            && let Some(region) = self.values.get("region")
        {
            builder = builder.with_region(region);
        }
        if !has(&builder, Key::Endpoint)
            && !has(&builder, Key::S3Endpoint)
            && let Some(endpoint) = self.values.get("endpoint_url")
        {
            builder = builder.with_endpoint(endpoint);
            if endpoint.starts_with("http://") {
                builder = builder.with_allow_http(true);
            }
        }
        if [Key::AccessKeyId, Key::SecretAccessKey, Key::WebIdentityTokenFile].into_iter().any(|key| has(&builder, key))
        {
            return Ok(builder);
        }
        let given = KEYS.into_iter().filter_map(|(name, key)| Some((key, self.values.get(name)?)));
        let builder = given.fold(builder, |builder, (key, value)| builder.with_config(key, value));
        match ELSEWHERE.iter().find(|way| self.values.contains_key(**way)) {
            Some(way) if !has(&builder, Key::AccessKeyId) => Err(format!(
                "profile {} gets its credentials by {way}, which is not supported; put keys into the environment, for \
                 example with `eval \"$(aws configure export-credentials --profile {} --format env)\"`",
                self.name, self.name
            )),
            _ => Ok(builder),
        }
    }
}

/// Returns the text of a file, or an empty string if it does not exist.
fn read(path: Option<&str>) -> Result<String, String> {
    let Some(path) = path else { return Ok(String::new()) };
    match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
        read => read.map_err(|error| format!("cannot read {path}: {error}")),
    }
}

/// Returns the values under `[name]`, if there is such a section.
fn section(text: &str, name: &str) -> Option<BTreeMap<String, String>> {
    let mut found: Option<BTreeMap<String, String>> = None;
    let mut is_inside = false;
    for line in text.lines() {
        // An indented line belongs to a nested setting, none of which is needed here.
        if line.starts_with([' ', '\t', '#', ';']) {
            continue;
        }
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.split(']').next()) {
            is_inside = header.split_whitespace().eq(name.split_whitespace());
            if is_inside {
                found.get_or_insert_default();
            }
        } else if is_inside && let Some((key, value)) = line.split_once('=') {
            let comment = [" #", " ;", "\t#", "\t;"].into_iter().filter_map(|mark| value.find(mark)).min();
            let value = value[..comment.unwrap_or(value.len())].trim();
            found.get_or_insert_default().insert(key.trim().to_lowercase(), value.to_owned());
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONFIG: &str = "
[default]
region = eu-west-1
aws_access_key_id = OF-CONFIG
aws_secret_access_key = secret-of-config
aws_session_token = token-of-config

# A comment
[profile  lab]
endpoint_url = http://store.lab:9000   # ours
region=us-east-2
s3 =
    addressing_style = path
    region = nested

[profile elsewhere]
sso_session = corporation
";
    const CREDENTIALS: &str = "
[default]
aws_access_key_id = DEFAULT
aws_secret_access_key = a=secret/with+signs#and;such

[lab]
AWS_ACCESS_KEY_ID=LAB
aws_secret_access_key =secret-of-lab
aws_session_token= token-of-lab
";

    /// Returns what the client receives with these variables and the files above.
    fn told(variables: &[(&str, &str)], builder: AmazonS3Builder) -> Result<[Option<String>; 5], String> {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir(home.path().join(".aws")).unwrap();
        fs::write(home.path().join(".aws/config"), CONFIG).unwrap();
        fs::write(home.path().join(".aws/credentials"), CREDENTIALS).unwrap();
        let variable = |name: &str| match variables.iter().find(|(given, _)| *given == name) {
            Some((_, value)) => Some((*value).to_owned()),
            None => (name == "HOME").then(|| home.path().display().to_string()),
        };
        let builder = Profile::load(variable)?.complete(builder)?;
        let keys = [Key::AccessKeyId, Key::SecretAccessKey, Key::Token, Key::Region, Key::Endpoint];
        Ok(keys.map(|key| builder.get_config_value(&key)))
    }

    fn some(values: [&str; 5]) -> Result<[Option<String>; 5], String> {
        Ok(values.map(|value| (!value.is_empty()).then(|| value.to_owned())))
    }

    #[test]
    fn the_default_profile_counts_where_none_is_selected() {
        let expected = some(["DEFAULT", "a=secret/with+signs#and;such", "", "eu-west-1", ""]);
        assert_eq!(told(&[], AmazonS3Builder::new()), expected);
        let expected = some(["OF-CONFIG", "secret-of-config", "token-of-config", "eu-west-1", ""]);
        assert_eq!(told(&[("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")], AmazonS3Builder::new()), expected);
        let nothing = [("HOME", "/nowhere")];
        assert_eq!(told(&nothing, AmazonS3Builder::new()), some([""; 5]));
    }

    #[test]
    fn a_selected_profile_is_put_together_from_both_files() {
        let expected = some(["LAB", "secret-of-lab", "token-of-lab", "us-east-2", "http://store.lab:9000"]);
        assert_eq!(told(&[("AWS_PROFILE", "lab")], AmazonS3Builder::new()), expected);
    }

    #[test]
    fn the_environment_goes_first() {
        let lab = [("AWS_PROFILE", "lab")];
        let keys = AmazonS3Builder::new().with_access_key_id("MINE").with_secret_access_key("my-secret");
        let expected = some(["MINE", "my-secret", "", "us-east-2", "http://store.lab:9000"]);
        assert_eq!(told(&lab, keys), expected);
        let place = AmazonS3Builder::new().with_region("here").with_endpoint("https://mine");
        assert_eq!(told(&lab, place), some(["LAB", "secret-of-lab", "token-of-lab", "here", "https://mine"]));
        let identity = AmazonS3Builder::new().with_config(Key::WebIdentityTokenFile, "/token");
        assert_eq!(told(&[], identity), some(["", "", "", "eu-west-1", ""]));
    }

    #[test]
    fn what_cannot_be_had_is_said() {
        let error = told(&[("AWS_PROFILE", "none")], AmazonS3Builder::new()).unwrap_err();
        assert!(error.contains("AWS_PROFILE = none") && error.contains(".aws/credentials"), "{error}");
        let elsewhere = [("AWS_PROFILE", "elsewhere")];
        let error = told(&elsewhere, AmazonS3Builder::new()).unwrap_err();
        assert!(error.contains("by sso_session") && error.contains("--profile elsewhere"), "{error}");
        let keys = AmazonS3Builder::new().with_access_key_id("MINE").with_secret_access_key("my-secret");
        assert_eq!(told(&elsewhere, keys), some(["MINE", "my-secret", "", "", ""]));
        let folder = [("AWS_CONFIG_FILE", "/")];
        assert!(told(&folder, AmazonS3Builder::new()).unwrap_err().contains("cannot read /"));
    }
}
