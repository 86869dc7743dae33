//! Every fault of a config is found at once and named; a valid config resolves and reads back.

use super::*;

const GOOD: &str = r#"
[run]
output = "runs/test"
[model]
preset = "tiny-cpu"
[data]
train = [{ url = "data/train" }]
[batch]
global_sequences = 8
micro_sequences = 4
sequence_tokens = 64
[optimizer]
peak_learning_rate = 1e-3
warmup_steps = 10
[train]
max_steps = 100
"#;

fn read(overrides: &[&str]) -> Result<RunConfig, ConfigError> {
    let overrides: Vec<String> = overrides.iter().map(|s| (*s).to_owned()).collect();
    RawConfig::parse("test.toml", GOOD, &overrides)?.run()
}

fn faults(overrides: &[&str]) -> Vec<String> {
    match read(overrides) {
        Err(ConfigError::Faults { faults, .. }) => faults.iter().map(Fault::to_string).collect(),
        other => panic!("expected faults, got {other:?}"),
    }
}

#[test]
fn a_resolved_config_reads_back_as_itself() {
    let config = read(&["run.name=plain words", "train.max_steps=200"]).unwrap();
    assert_eq!(config.run.name, "plain words");
    assert_eq!(config.optimizer.decay_steps, Some(200));
    let again = RawConfig::parse("resolved", &config.to_toml(), &[]).unwrap().run().unwrap();
    assert_eq!(again, config);
}

#[test]
fn a_signature_in_a_url_is_not_stored_with_the_config() {
    let data = |query: &str| format!("data.train=[{{ url = 'https://host/d/train.bin{query}', weight = 1.0 }}]");
    let signed =
        read(&[&data("?X-Amz-Signature=SECRET&x=*[a]"), "data.tokenizer=https://host/t.json?sig=SECRET"]).unwrap();
    assert!(signed.to_toml().contains("SECRET"));
    let stored = RawConfig::parse("stored", &signed.to_stored_toml(), &[]).unwrap().run().unwrap();
    assert_eq!(stored, read(&[&data(""), "data.tokenizer=https://host/t.json"]).unwrap());
}

#[test]
fn all_faults_are_reported_at_once() {
    let faults = faults(&[
        "optimizer.peak_learning_rat=1",
        "batch.micro_sequences=\"four\"",
        "train.max_steps=0",
        "nonsense.key=1",
        "storage.deadline_s=700",
        "model.preset=\"gpt5\"",
    ]);
    let text = faults.join("\n");
    for expected in [
        "model.preset = \"gpt5\": is none of tiny-cpu, gpt2-124m",
        "batch.micro_sequences = \"four\": invalid type",
        "optimizer.peak_learning_rat = 1: unknown key; did you mean peak_learning_rate?",
        "train.max_steps = 0: must be at least 1",
        "nonsense: unknown section",
        "storage.deadline_s = 700: must be below parallel.timeout_s = 600",
    ] {
        assert!(text.contains(expected), "missing {expected:?} in:\n{text}");
    }
    assert_eq!(faults.len(), 6, "{text}");
}

#[test]
fn buckets_are_neither_too_small_nor_too_large() {
    for (bytes, fault) in [(4095, "must be at least 4096"), ((1 << 29) + 1, "must be at most 536870912")] {
        let found = faults(&[&format!("parallel.bucket_bytes={bytes}")]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(&format!("parallel.bucket_bytes = {bytes}: {fault}")), "{found:?}");
    }
}

#[test]
fn impossible_combinations_are_refused_together() {
    let text = faults(&[
        "batch.micro_sequences=9",
        "batch.sequence_tokens=129",
        "storage.deadline_s=600",
        "launch.stall_timeout_s=600",
        "optimizer.warmup_steps=100",
    ])
    .join("\n");
    for expected in [
        "batch.micro_sequences = 9: exceeds batch.global_sequences = 8",
        "batch.sequence_tokens = 129: exceeds the model's context of 128",
        "storage.deadline_s = 600: must be below parallel.timeout_s = 600",
        "parallel.timeout_s = 600: must be below launch.stall_timeout_s = 600",
        "optimizer.warmup_steps = 100: leaves no step to decay",
    ] {
        assert!(text.contains(expected), "missing {expected:?} in:\n{text}");
    }
}

#[test]
fn the_warm_up_fits_a_run_that_does_not_give_one() {
    let without = GOOD.replace("warmup_steps = 10\n", "");
    let warmup = |steps: &str| {
        let config = RawConfig::parse("t", &without, &[steps.to_owned()]).unwrap().run().unwrap();
        let schedule = config.lr_schedule();
        assert_eq!(config.optimizer.warmup_steps, Some(schedule.warmup_steps));
        let again = RawConfig::parse("resolved", &config.to_toml(), &[]).unwrap().run().unwrap();
        assert_eq!(again, config);
        schedule.warmup_steps
    };
    for (steps, expected) in [(1, 0), (9, 0), (100, 10), (800, 80), (7000, 700), (18_865, 700)] {
        assert_eq!(warmup(&format!("train.max_steps={steps}")), expected, "{steps}");
    }
    assert_eq!(warmup("optimizer.decay_steps=40"), 4);
}

#[test]
fn heads_must_divide_the_width_and_a_preset_excludes_sizes() {
    let sized = GOOD
        .replace("preset = \"tiny-cpu\"", "layers = 2\nwidth = 64\nheads = 3\ncontext_tokens = 64\nvocabulary = 70000");
    let error = RawConfig::parse("t", &sized, &[]).unwrap().run().unwrap_err().to_string();
    assert!(error.contains("model.heads = 3: does not divide model.width = 64"), "{error}");
    assert!(error.contains("model.vocabulary = 70000: must be at most 65536"), "{error}");
    assert!(faults(&["model.width=64"])[0].contains("excludes model.width"));
}

#[test]
fn missing_keys_say_what_to_give() {
    let error = RawConfig::parse("t", "", &[]).unwrap().run().unwrap_err().to_string();
    for expected in
        ["run.output: missing; give the run folder", "data.train: missing", "model.layers: missing; give model.preset"]
    {
        assert!(error.contains(expected), "missing {expected:?} in:\n{error}");
    }
}

#[test]
fn malformed_overrides_and_syntax_are_named() {
    assert!(matches!(read(&["max_steps=1"]), Err(ConfigError::Override { .. })));
    assert!(matches!(RawConfig::parse("t", "[run", &[]), Err(ConfigError::Syntax { .. })));
    let error = RawConfig::parse("t", "run = 1", &["run.seed=2".into()]).unwrap_err().to_string();
    assert!(error.contains("--set run.seed=2: run is no section in this config"), "{error}");
}

#[test]
fn an_override_means_what_its_key_can_take() {
    let config = read(&[
        "train.max_steps=2e2",
        "optimizer.peak_learning_rate=1",
        "run.name=2026-11-30",
        "data.tokenizer=17",
        "data.train=data/a.bin",
        "launch.hosts=node-1",
    ])
    .unwrap();
    assert_eq!((config.train.max_steps, config.optimizer.peak_learning_rate), (200, 1.0));
    assert_eq!((config.run.name.as_str(), config.data.tokenizer.as_str()), ("2026-11-30", "17"));
    assert_eq!(config.data.train, [DataSource { url: "data/a.bin".into(), weight: 1.0 }]);
    assert_eq!(config.launch.hosts, ["node-1"]);
    let prepare = |given: &str| {
        let file = "prepare = { inputs = [\"x\"], output = \"y\" }";
        RawConfig::parse("t", file, &[given.to_owned()]).unwrap().prepare().unwrap().prepare.inputs
    };
    assert_eq!(prepare("prepare.inputs=book.txt"), ["book.txt"]);
    assert_eq!(prepare("prepare.inputs=[\"a.txt\", \"b.txt\"]"), ["a.txt", "b.txt"]);
    // A file has one spelling.
    let file = GOOD.replace("max_steps = 100", "max_steps = 1e2");
    let error = RawConfig::parse("t", &file, &[]).unwrap().run().unwrap_err().to_string();
    assert!(error.contains("train.max_steps = 100.0: invalid type: floating point"), "{error}");
    assert!(!error.contains("--set"), "{error}");
}

#[test]
fn a_refused_override_is_shown_as_it_was_typed_with_what_the_key_takes() {
    let lines = faults(&[
        "train.max_steps=2.5",
        "optimizer.beta1=one",
        "batch.micro_sequences=1e9",
        "run.name=[\"a b\"]",
        "data.train=7.5",
        "train.precision=bf16",
        "modl.layers=2",
        "parallel.learning_rate=1",
        "run.seed=-1",
        "run.seed=-2",
    ]);
    let text = lines.join("\n");
    for expected in [
        "train.max_steps = 2.5: invalid type: floating point `2.5`, expected u64; give a whole number, as in \
         --set train.max_steps=100 (given as --set train.max_steps=2.5)",
        "give a number, as in --set optimizer.beta1=0.5 (given as --set optimizer.beta1=one)",
        "batch.micro_sequences = 1000000000.0: must be at most 1048576 (given as --set batch.micro_sequences=1e9)",
        "give text, as in --set 'run.name=\"text\"' (given as --set 'run.name=[\"a b\"]')",
        "train.precision = \"bf16\": unknown variant `bf16`, expected `float32` or `bfloat16` (given as",
        "modl: unknown section; did you mean [model]? (given as --set modl.layers=2)",
        "parallel.learning_rate = 1: unknown key; [parallel] has collectives, zero",
        "run.seed = -2: must be at least 0 (given as --set run.seed=-2)",
    ] {
        assert!(text.contains(expected), "missing {expected:?} in:\n{text}");
    }
    assert_eq!(lines.len(), 8, "{text}");
}

#[test]
fn tasks_are_listed_one_by_one_or_with_commas() {
    let config = read(&["evaluation.tasks=hellaswag_harness, lambada_harness,"]).unwrap();
    assert_eq!(config.evaluation.tasks, ["hellaswag_harness", "lambada_harness"]);
    let again = RawConfig::parse("resolved", &config.to_toml(), &[]).unwrap().run().unwrap();
    assert_eq!(again, config);
    let config = read(&["evaluation.tasks=[\"ptb\", \"text=notes.txt\"]"]).unwrap();
    assert_eq!(config.evaluation.tasks, ["ptb", "text=notes.txt"]);
    assert_eq!((config.evaluation.tasks_every_steps, config.evaluation.tasks_items), (0, 200));
}

#[test]
fn tasks_whose_results_fit_into_no_message_are_refused() {
    let of = |names: &[&str]| format!("evaluation.tasks={names:?}");
    assert!(read(&[&of(&["ptb"; 24])]).is_ok());
    let long = "x".repeat(1025);
    for names in [&["ptb"; 25][..], &[&*long], &["text=a\tb"]] {
        let refused = faults(&[&of(names)]).join("\n");
        assert!(refused.contains("evaluation.tasks = ") && refused.contains("must be at most 24 names"), "{refused}");
    }
}

#[test]
fn documents_overlap_with_a_filter_from_a_share_above_nothing_on() {
    let prepare = |given: &[&str]| {
        let file = "prepare = { inputs = [\"x\"], output = \"y\" }";
        let given: Vec<String> = given.iter().map(|given| (*given).to_owned()).collect();
        RawConfig::parse("t", file, &given).unwrap().prepare().map(|config| config.prepare)
    };
    let without = prepare(&[]).unwrap();
    assert!(!without.has_overlap_filter() && without.with_absolute_paths().overlap_filter.is_empty());
    let with = prepare(&["prepare.overlap_filter=tests.grams", "prepare.overlap_share=1"]).unwrap();
    assert_eq!((with.has_overlap_filter(), with.overlap_share), (true, 1.0));
    assert!(std::path::Path::new(&with.with_absolute_paths().overlap_filter).is_absolute());
    for share in ["0", "1.5", "-0.1"] {
        let error = prepare(&[&format!("prepare.overlap_share={share}")]).unwrap_err().to_string();
        assert!(error.contains("prepare.overlap_share = ") && error.contains("must be "), "{error}");
    }
}

#[test]
fn a_share_of_overlap_with_no_filter_is_refused_and_a_resolved_config_is_not() {
    let read = |text: &str| RawConfig::parse("t", text, &[]).unwrap().prepare();
    let text = |share: &str| format!("[prepare]\ninputs = [\"x\"]\noutput = \"y\"\n{share}\n");
    let error = read(&text("overlap_share = 0.5")).unwrap_err().to_string();
    assert!(error.contains("prepare.overlap_share = 0.5: has no use without prepare.overlap_filter; give "), "{error}");
    let resolved = read(&text("")).unwrap();
    assert_eq!(read(&resolved.to_toml()).unwrap(), resolved);
}

#[test]
fn a_config_that_does_not_exist_is_named_with_where_it_was_looked_for_and_what_writes_one() {
    let load = |path: &str| RawConfig::load(std::path::Path::new(path), &[]).unwrap_err().to_string();
    let here = std::env::current_dir().unwrap();
    let expected = format!(
        "the config no/such.toml does not exist (looked for at {}/no/such.toml); give the path of one (`launcher init TEXT` \
         writes one)",
        here.display()
    );
    assert_eq!(load("no/such.toml"), expected);
    assert!(load("/no/such.toml").starts_with("the config /no/such.toml does not exist; give "));
    assert!(load("/").starts_with("cannot read the config /: "), "a folder");
}

fn prepare_job(text: &str, overrides: &[&str]) -> Result<PrepareJobConfig, ConfigError> {
    let file = format!("prepare = {{ inputs = [\"x\"], output = \"y\" }}\n{text}");
    let overrides: Vec<String> = overrides.iter().map(|given| (*given).to_owned()).collect();
    RawConfig::parse("t", &file, &overrides)?.prepare()
}

#[test]
fn each_stage_comes_once_and_in_order() {
    let stages = |given: &str| prepare_job("", &[&format!("prepare.stages={given}")]).map(|job| job.prepare.stages);
    assert_eq!(prepare_job("", &[]).unwrap().prepare.stages, []);
    assert_eq!(stages("extract").unwrap(), [StageName::Extract]);
    assert_eq!(stages("[\"extract\", \"clean\"]").unwrap(), [StageName::Extract, StageName::Clean]);
    let all = [StageName::Extract, StageName::Clean, StageName::Deduplicate, StageName::Overlap];
    assert_eq!(stages("[\"extract\", \"clean\", \"deduplicate\", \"overlap\"]").unwrap(), all);
    assert_eq!(stages("deduplicate").unwrap(), [StageName::Deduplicate]);
    for given in ["[\"clean\", \"extract\"]", "[\"clean\", \"clean\"]", "[\"overlap\", \"deduplicate\"]"] {
        let error = stages(given).unwrap_err().to_string();
        assert!(error.contains(&format!("prepare.stages = {given}: each stage comes once")), "{error}");
    }
    let error = stages("[\"wash\"]").unwrap_err().to_string();
    assert!(
        error.contains("unknown variant `wash`, expected one of `extract`, `clean`, `deduplicate`, `overlap`"),
        "{error}"
    );
}

#[test]
fn rules_of_stages_are_tables_and_an_override_leads_into_them() {
    let text = "[webtext.extract]\ncpu_ms = 5\n[webtext.clean]\nset = \"fineweb\"\nlength = { min_words = 9 }\n";
    let overrides =
        ["webtext.clean.set=\"paper\"", "webtext.clean.length.min_words=50", "webtext.clean.c4.enabled=false"];
    let job = prepare_job(text, &overrides).unwrap();
    let clean = "set = \"paper\"\nlength = { min_words = 50 }\nc4 = { enabled = false }";
    assert_eq!(job.webtext.clean, toml::from_str::<toml::Table>(clean).unwrap());
    assert_eq!(job.webtext.extract, toml::from_str::<toml::Table>("cpu_ms = 5").unwrap());
    // It arrives as it is at the other ranks.
    let again = RawConfig::parse("from rank 0", &job.to_toml(), &[]).unwrap().prepare().unwrap();
    assert_eq!(again, job);
    let error = prepare_job(text, &["webtext.clean.set.name=1"]).unwrap_err().to_string();
    assert!(error.contains("webtext.clean.set is no section in this config"), "{error}");
    let error = prepare_job("[webtext]\ncleans = {}\n", &[]).unwrap_err().to_string();
    assert!(error.contains("webtext.cleans = {}: unknown key; did you mean clean?"), "{error}");
    let error = prepare_job("webtext.clean = 5\n", &[]).unwrap_err().to_string();
    assert!(error.contains("webtext.clean = 5: "), "{error}");
    let error = prepare_job("", &["prepare.seed.x=1"]).unwrap_err().to_string();
    assert!(error.contains("prepare.seed = "), "{error}");
}

#[test]
fn folders_of_earlier_deduplications_become_absolute_and_urls_stay() {
    let against = r#"["out/stages/deduplicate-0123456789abcdef", "/old", "s3://bucket/old", 5]"#;
    let text = format!("[webtext.deduplicate]\nagainst = {against}\nkeep = {{ best = \"date\" }}\n");
    let job = prepare_job(&text, &[]).unwrap();
    let absolute = job.webtext.with_absolute_paths();
    let here = std::env::current_dir().unwrap().join("out/stages/deduplicate-0123456789abcdef");
    assert_eq!(absolute.against().collect::<Vec<_>>(), [here.to_str().unwrap(), "/old", "s3://bucket/old"]);
    // What is no string is not for this section to judge.
    assert_eq!(absolute.deduplicate["against"][3], toml::Value::Integer(5));
    assert_eq!(absolute.deduplicate["keep"], job.webtext.deduplicate["keep"]);
    assert_eq!(absolute.with_absolute_paths(), absolute);
    // Every rank reads it again.
    let shared = PrepareJobConfig { webtext: absolute, ..job };
    assert_eq!(RawConfig::parse("from rank 0", &shared.to_toml(), &[]).unwrap().prepare().unwrap(), shared);
    for text in ["", "webtext.deduplicate.against = 5"] {
        let job = prepare_job(text, &[]).unwrap();
        assert_eq!(job.webtext.with_absolute_paths(), job.webtext);
        assert_eq!(job.webtext.against().count(), 0);
    }
}

#[test]
fn places_of_evaluation_sets_become_absolute_and_names_of_tasks_stay() {
    let text = r#"[webtext.overlap]
tasks = ["ptb, text = notes.txt", "documents=s3://bucket/a.jsonl", 5]
data = "eval"
"#;
    let job = prepare_job(text, &[]).unwrap();
    let absolute = job.webtext.with_absolute_paths();
    let here = |name: &str| std::env::current_dir().unwrap().join(name).to_str().unwrap().to_owned();
    assert_eq!(absolute.overlap_data(), Some(&*here("eval")));
    assert_eq!(absolute.overlap_files().collect::<Vec<_>>(), [&*here("notes.txt"), "s3://bucket/a.jsonl"]);
    assert_eq!(absolute.overlap["tasks"][0].as_str(), Some(&*format!("ptb,text={}", here("notes.txt"))));
    assert_eq!(absolute.overlap["tasks"][2], toml::Value::Integer(5));
    assert_eq!(absolute.with_absolute_paths(), absolute);
    let none = prepare_job("webtext.overlap.data = \"\"", &[]).unwrap().webtext;
    assert_eq!(
        (none.with_absolute_paths(), none.overlap_data(), none.overlap_files().count()),
        (none.clone(), None, 0)
    );
}
