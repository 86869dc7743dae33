//! The side that asks: a child is started, asked page after page, and replaced when a page has ended it.

use std::{
    io::{self, BufReader, Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    time::Duration,
};

use nix::{
    sys::signal::Signal,
    unistd::{Pid, SysconfVar, sysconf},
};

use super::{
    child::Request,
    frames,
    limits::Limits,
    page::{Page, Verdict},
    watchdog::Watchdog,
};

/// Time for a child to start.
const START: Duration = Duration::from_secs(60);
/// Looks at a process that has closed its output, before it is killed.
const DYING_LOOKS: u32 = 1000;
/// Time between two of them.
const DYING_LOOK_EVERY: Duration = Duration::from_millis(10);
/// Signals that come from outside: a page ends a child by none of them. The system's own when memory is short is SIGKILL.
const FROM_OUTSIDE: [Signal; 4] = [Signal::SIGKILL, Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP];
/// Bytes read of what a dead child has said.
const LAST_WORDS_BYTES: u64 = 64 << 10;

/// Why no verdict could be had. No page causes this; the command or the machine does.
#[derive(Debug, thiserror::Error)]
pub enum ExtractorError {
    /// The child could not be started.
    #[error("could not start the extracting process {program}: {source}")]
    Start {
        /// What was to be started.
        program: String,
        /// Why not.
        source: io::Error,
    },
    /// The child ended before it was ready.
    #[error("the extracting process {program} ended before it was ready: {cause}")]
    NotReady {
        /// What was started.
        program: String,
        /// How it ended, and its last words.
        cause: String,
    },
    /// The child's answer is none.
    #[error("the extracting process {program} does not speak this protocol: {cause}")]
    Protocol {
        /// What was started.
        program: String,
        /// What it said instead.
        cause: String,
    },
    /// The child was killed, neither by its own limits nor by this extractor.
    #[error("the extracting process {program} was killed from outside by {signal}")]
    Killed {
        /// What was started.
        program: String,
        /// The signal.
        signal: Signal,
    },
}

/// Extracts pages in a child, one after another.
///
/// The command must end in [`serve`](super::serve) on its standard input and output. A verdict depends on the page alone: a child
/// that dies while it is not new is replaced, and the page is tried once more.
pub struct Extractor {
    command: Box<dyn FnMut() -> Command + Send>,
    limits: Limits,
    child: Option<Running>,
    watchdog: Watchdog,
    starts: u64,
    /// Processor time of children that have ended, in seconds.
    ended_seconds: f64,
}

impl Extractor {
    /// An extractor whose children `command` starts. None is started before the first page.
    ///
    /// # Errors
    ///
    /// Fails if the system gives no thread.
    pub fn new(command: impl FnMut() -> Command + Send + 'static, limits: Limits) -> io::Result<Extractor> {
        Ok(Extractor {
            command: Box::new(command),
            limits,
            child: None,
            watchdog: Watchdog::start()?,
            starts: 0,
            ended_seconds: 0.0,
        })
    }

    /// Number of children started so far.
    pub fn starts(&self) -> u64 {
        self.starts
    }

    /// Processor time of all children so far, in seconds. What a child took between its last answer and its end may be missing.
    pub fn cpu_seconds(&self) -> f64 {
        self.ended_seconds + self.child.as_ref().map_or(0.0, Running::cpu_seconds)
    }

    /// Extracts the main text of a page.
    ///
    /// # Errors
    ///
    /// Fails if the child cannot be started, does not answer in [`serve`](super::serve)'s manner, or is killed from outside.
    pub fn extract(&mut self, page: &Page<'_>) -> Result<Verdict, ExtractorError> {
        let bytes = u64::try_from(page.body.len()).unwrap_or(u64::MAX);
        if bytes > self.limits.page_bytes {
            return Ok(Verdict::TooLarge { bytes });
        }
        loop {
            let used = self.child.is_some();
            let mut child = match self.child.take() {
                Some(child) => child,
                None => self.start()?,
            };
            self.watchdog.watch(child.pid, Duration::from_millis(self.limits.wall_ms));
            let answer = child.ask(page);
            let killed = self.watchdog.release();
            match answer {
                Ok(answer) => {
                    let verdict = serde_json::from_slice(&answer).map_err(|error| ExtractorError::Protocol {
                        program: child.program.clone(),
                        cause: error.to_string(),
                    })?;
                    // A child that was killed just after its answer is not used again.
                    match killed {
                        true => self.ended_seconds += child.cpu_seconds(),
                        false => self.child = Some(child),
                    }
                    return Ok(verdict);
                }
                Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                    return Err(ExtractorError::Protocol { program: child.program.clone(), cause: error.to_string() });
                }
                Err(_) => {
                    self.ended_seconds += child.cpu_seconds();
                    let verdict = child.autopsy(killed)?;
                    if !used || verdict == Verdict::TimedOut {
                        return Ok(verdict);
                    }
                }
            }
        }
    }

    fn start(&mut self) -> Result<Running, ExtractorError> {
        let mut command = (self.command)();
        let program = command.get_program().to_string_lossy().into_owned();
        // A backtrace of a failed allocation takes time and memory that the child no longer has.
        command.env("RUST_BACKTRACE", "0");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let start_error = |source| ExtractorError::Start { program: program.clone(), source };
        let mut process = command.spawn().map_err(start_error)?;
        self.starts += 1;
        let pid =
            i32::try_from(process.id()).map(Pid::from_raw).map_err(|error| start_error(io::Error::other(error)))?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(start_error(io::Error::other("no pipes")));
        };
        let mut child = Running { process, pid, program: program.clone(), input, output: BufReader::new(output) };
        let limits = serde_json::to_vec(&self.limits).map_err(|error| start_error(error.into()))?;
        self.watchdog.watch(pid, START);
        let ready = child.greet(&limits);
        let killed = self.watchdog.release();
        match ready {
            Ok(ready) if ready == frames::READY && !killed => Ok(child),
            Ok(other) => {
                let cause = String::from_utf8_lossy(&other).chars().take(200).collect();
                Err(ExtractorError::Protocol { program, cause })
            }
            Err(error) if error.kind() == io::ErrorKind::InvalidData => {
                Err(ExtractorError::Protocol { program, cause: error.to_string() })
            }
            Err(_) => {
                let ending = child.end();
                match ending.signal.filter(|signal| !killed && FROM_OUTSIDE.contains(signal)) {
                    Some(signal) => Err(ExtractorError::Killed { program, signal }),
                    None => Err(ExtractorError::NotReady { program, cause: ending.cause }),
                }
            }
        }
    }
}

/// A child that runs. Dropping it ends it.
struct Running {
    process: Child,
    pid: Pid,
    program: String,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Running {
    fn greet(&mut self, limits: &[u8]) -> io::Result<Vec<u8>> {
        // What is no child may have ended by now; then its output tells more than the broken pipe.
        let written = frames::write(&mut self.input, limits);
        let ready = frames::read(&mut self.output, 1 << 10)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        written.map(|()| ready)
    }

    fn ask(&mut self, page: &Page<'_>) -> io::Result<Vec<u8>> {
        let request = Request { content_type: page.content_type.map(str::to_owned) };
        frames::write(&mut self.input, &serde_json::to_vec(&request)?)?;
        frames::write(&mut self.input, page.body)?;
        frames::read(&mut self.output, frames::MESSAGE_BYTES)?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    /// Processor time of the process so far, in seconds; 0 where the system does not tell.
    fn cpu_seconds(&self) -> f64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.pid)).unwrap_or_default();
        // The name of the program comes before, in brackets. Of the rest, the 12th and 13th field are user and system time.
        let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().skip(11).take(2);
        let ticks: u64 = fields.filter_map(|field| field.parse::<u64>().ok()).sum();
        let per_second = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100);
        ticks as f64 / per_second.max(1) as f64
    }

    /// What a page died of. `killed` is whether the watchdog has killed the process.
    fn autopsy(&mut self, killed: bool) -> Result<Verdict, ExtractorError> {
        let Ending { signal, cause } = self.end();
        if killed || signal == Some(Signal::SIGXCPU) {
            return Ok(Verdict::TimedOut);
        }
        match signal.filter(|signal| FROM_OUTSIDE.contains(signal)) {
            Some(signal) => Err(ExtractorError::Killed { program: self.program.clone(), signal }),
            None if cause.contains("memory allocation of") => Ok(Verdict::OutOfMemory),
            None => Ok(Verdict::Crashed { cause }),
        }
    }

    /// Ends the process.
    fn end(&mut self) -> Ending {
        let (mut words, mut killed_here) = (Vec::new(), false);
        let status = self.wait(&mut killed_here);
        if let Some(stderr) = self.process.stderr.take() {
            let _ = stderr.take(LAST_WORDS_BYTES).read_to_end(&mut words);
        }
        let words = String::from_utf8_lossy(&words);
        let status_words = status.as_ref().map_or_else(ToString::to_string, ToString::to_string);
        let signal = status.ok().and_then(|status| status.signal()).filter(|_| !killed_here);
        let signal = signal.and_then(|signal| Signal::try_from(signal).ok());
        Ending { signal, cause: format!("{status_words}: {}", words.trim()) }
    }

    /// Waits for a process that has closed its output: it is dying, or is killed after a while, which `killed_here` then says.
    fn wait(&mut self, killed_here: &mut bool) -> io::Result<ExitStatus> {
        for _ in 0..DYING_LOOKS {
            if let Some(status) = self.process.try_wait()? {
                return Ok(status);
            }
            std::thread::sleep(DYING_LOOK_EVERY);
        }
        *killed_here = true;
        self.process.kill()?;
        self.process.wait()
    }
}

/// How a process ended.
struct Ending {
    /// The signal that it died by, unless that came from [`Running::end`].
    signal: Option<Signal>,
    /// In words, with what the process said last.
    cause: String,
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.input.flush();
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
