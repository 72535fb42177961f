//! Tasks on threads of their own.

use anyhow::{Context, anyhow};

/// Runs `task` on a new thread called `name`, whose namespaces, file mode mask and root folder it may change.
///
/// # Errors
/// That of `task`, or if the thread cannot be started or panics.
pub fn on_new_thread<T: Send>(name: &str, task: impl FnOnce() -> anyhow::Result<T> + Send) -> anyhow::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn_scoped(scope, task);
        let joined = thread.context("cannot start a thread")?.join();
        joined.unwrap_or_else(|_| Err(anyhow!("the thread `{name}` panicked")))
    })
}
