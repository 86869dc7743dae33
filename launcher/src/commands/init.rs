//! `launcher init`: writes a first config for a text and this machine.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};

use common::exit_code::ExitCode;
use common::shell::quoted;
use common::text_survey::TextSurvey;

use crate::cli::init::{InitArgs, InitDevice};
use crate::error::LaunchError;
use crate::init::config_text::{Subject, config_text};
use crate::init::error::InitError;
use crate::init::machine::Machine;
use crate::init::places::Places;
use crate::init::plan::Plan;
use crate::programs;
use crate::view::figures::{counted, with_thousands};
use crate::view::terminal::{to_stderr, to_stdout};

/// Writes the config, and prints the commands that come next.
pub fn run(args: &InitArgs) -> Result<ExitCode, LaunchError> {
    let output = &args.output;
    if output.exists() && !args.force {
        return Err(InitError::Exists { path: output.clone() }.into());
    }
    let here = std::env::current_dir().map_err(LaunchError::system("find the current folder"))?;
    if let Some(text) = args.texts.iter().find(|text| !may_be_there(text, &here)) {
        return Err(InitError::NotThere { text: text.clone() }.into());
    }
    let places = Places::choose(&args.texts, &here)?;
    let text = match survey(args)? {
        Ok(text) => text,
        // The prepare program has said why.
        Err(code) => return Ok(code),
    };
    let machine = Machine::look(args.device == InitDevice::Auto);
    let plan = Plan::new(&text, &machine)?;
    let config = quoted(&output.display().to_string());
    let next = [format!("train {config}"), format!("sample {config} --prompt \"The\"")];
    let commands = next.each_ref().map(|words| format!("launcher {words}"));
    let subject = Subject {
        names: &args.texts,
        text: &text,
        tokenizer: &args.tokenizer,
        text_field: &args.text_field,
        on_bad_document: args.on_bad_document,
        machine: &machine,
        places: &places,
        commands: &commands,
    };
    write(output, &config_text(&subject, &plan), args.force)?;
    to_stderr(&format!(
        "{}: about {} tokens in {}, for a model of {} parameters and {}; next:",
        output.display(),
        with_thousands(text.tokens),
        counted(text.documents, "document"),
        with_thousands(plan.model.parameters()),
        counted(plan.max_steps, "step"),
    ));
    let own = programs::own_name();
    next.iter().for_each(|words| to_stdout(&format!("{own} {words}")));
    Ok(ExitCode::Done)
}

/// Returns whether `text` exists, or can be known only by whoever looks for it: a pattern or a URL.
fn may_be_there(text: &str, here: &Path) -> bool {
    text.contains("://") || text.contains(['*', '?', '[']) || here.join(text).exists()
}

/// Has the prepare program look at the texts. Returns its exit code if it refuses them, which it explains itself.
fn survey(args: &InitArgs) -> Result<Result<TextSurvey, ExitCode>, LaunchError> {
    let program = programs::prepare()?;
    let mut command = Command::new(&program);
    command.arg("survey");
    // Name and value are one word, so that a value may begin with a dash.
    command.arg(format!("--tokenizer={}", args.tokenizer)).arg(format!("--text-field={}", args.text_field));
    command.arg(format!("--on-bad-document={}", args.on_bad_document.word()));
    command.arg("--").args(&args.texts).stderr(Stdio::inherit());
    if std::env::var_os("RUST_LOG").is_none() {
        // What it passes over on its way is no news.
        command.env("RUST_LOG", "warn");
    }
    let output = command.output().map_err(|source| LaunchError::Start { program, source })?;
    if !output.status.success() {
        return Ok(Err(output.status.code().map_or(ExitCode::Communication, ExitCode::from_number)));
    }
    Ok(Ok(serde_json::from_slice(&output.stdout).map_err(InitError::NoSurvey)?))
}

/// Writes the config. A file that has appeared meanwhile is kept, unless `force` is given.
fn write(path: &Path, content: &str, force: bool) -> Result<(), InitError> {
    let mut options = OpenOptions::new();
    options.write(true);
    if force {
        options.create(true).truncate(true)
    } else {
        options.create_new(true)
    };
    let written = options.open(path).and_then(|mut file| file.write_all(content.as_bytes()));
    written.map_err(|source| match source.kind() {
        ErrorKind::AlreadyExists => InitError::Exists { path: path.to_owned() },
        _ => InitError::Unwritable { path: path.to_owned(), source },
    })
}
