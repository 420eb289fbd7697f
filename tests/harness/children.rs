//! Child processes that can't outlive the tests.
//!
//! `PR_SET_PDEATHSIG` follows the *thread* that forked, and a test's thread ends with its test. So one thread that
//! lives as long as the process starts every child.

use std::{
    io,
    os::unix::process::CommandExt,
    process::{Child, Command},
    sync::{
        OnceLock,
        mpsc::{Sender, channel},
    },
};

use nix::sys::{prctl::set_pdeathsig, signal::Signal};

type Order = (Command, Signal, Sender<io::Result<Child>>);

/// Starts `command`; it gets `signal` when this process ends, however it ends.
pub fn spawn(command: Command, signal: Signal) -> io::Result<Child> {
    static SPAWNER: OnceLock<Sender<Order>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (orders, inbox) = channel::<Order>();
        std::thread::Builder::new()
            .name("spawner".into())
            .spawn(move || {
                for (command, signal, reply) in inbox {
                    reply.send(spawn_tied(command, signal)).ok();
                }
            })
            .expect("a thread that starts child processes");
        orders
    });
    let (reply, answer) = channel();
    spawner.send((command, signal, reply)).map_err(io::Error::other)?;
    answer.recv().map_err(io::Error::other)?
}

#[expect(unsafe_code, reason = "a child process is tied to its parent between fork and exec")]
fn spawn_tied(mut command: Command, signal: Signal) -> io::Result<Child> {
    // SAFETY: between fork and exec only `prctl` runs, which is async-signal-safe and allocates nothing.
    unsafe {
        command.pre_exec(move || set_pdeathsig(Some(signal)).map_err(io::Error::from));
    }
    command.spawn()
}

/// Removes the directories that runs which ended without cleaning up left behind: `PREFIX-PID-…` of a process that
/// is no more.
pub fn sweep(prefix: &str) {
    for entry in std::fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|n| n.strip_prefix(prefix)?.strip_prefix('-')?.split('-').next());
        if pid.is_some_and(|pid| !std::path::Path::new("/proc").join(pid).exists()) {
            std::fs::remove_dir_all(entry.path()).ok();
        }
    }
}
