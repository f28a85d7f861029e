//! A thread that makes and removes segment files, so that commits need not wait for either.
//!
//! Invariant: at most one segment is prepared ahead; files are removed in the order asked for, each
//! removal durable before the next.

use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use crate::files::{File, Files};
use crate::recovery::{create_segment, segment_name};

/// How many tasks may wait; a committer that is further ahead waits too.
const TASKS_MAX: usize = 16;

#[derive(Debug)]
enum Task {
    Prepare(u32),
    Remove(u32),
}

#[derive(Debug)]
pub(crate) struct Keeper {
    /// None only while it is dropped.
    tasks: Option<SyncSender<Task>>,
    prepared: Receiver<io::Result<Arc<dyn File>>>,
    thread: Option<JoinHandle<()>>,
    asked: Option<u32>,
}

impl Keeper {
    pub(crate) fn start(files: Arc<dyn Files>, store: u64) -> io::Result<Self> {
        let (tasks, todo) = sync_channel(TASKS_MAX);
        let (done, prepared) = sync_channel(TASKS_MAX);
        let name = "bellpunch-files".to_owned();
        let work = move || keep(&*files, store, &todo, &done);
        let thread = std::thread::Builder::new().name(name).spawn(work)?;
        Ok(Self { tasks: Some(tasks), prepared, thread: Some(thread), asked: None })
    }

    /// Has a segment made ahead.
    pub(crate) fn prepare(&mut self, segment: u32) {
        if self.asked.is_none() {
            self.asked = Some(segment);
            self.ask(Task::Prepare(segment));
        }
    }

    /// The segment asked for, waiting if it is not made yet.
    pub(crate) fn take(&mut self, segment: u32) -> io::Result<Arc<dyn File>> {
        self.prepare(segment);
        self.asked = None;
        self.prepared.recv().expect("the keeper ends after its committer")
    }

    pub(crate) fn remove(&self, segment: u32) {
        self.ask(Task::Remove(segment));
    }

    fn ask(&self, task: Task) {
        let tasks = self.tasks.as_ref().expect("it is not being dropped");
        tasks.send(task).expect("the keeper ends after its committer");
    }
}

impl Drop for Keeper {
    /// Finishes what was asked for, so that nobody touches the folder afterwards.
    fn drop(&mut self) {
        self.tasks = None;
        if let Some(thread) = self.thread.take() {
            // A panic of it has nothing more to spoil.
            let _ = thread.join();
        }
    }
}

fn keep(
    files: &dyn Files,
    store: u64,
    todo: &Receiver<Task>,
    done: &SyncSender<io::Result<Arc<dyn File>>>,
) {
    let mut removes = Ok(());
    while let Ok(task) = todo.recv() {
        match task {
            Task::Prepare(segment) => {
                let made = create_segment(files, segment, store);
                if made.is_err() {
                    // What is left of it is removed, so that it can be made again. If not even
                    // that works, making it again fails too, and says so.
                    let _ = files.remove(&segment_name(segment));
                }
                if done.send(made).is_err() {
                    return;
                }
            }
            // After a failure nothing more is removed: the next start does it, in order.
            Task::Remove(segment) => {
                removes = removes.and_then(|()| {
                    files.remove(&segment_name(segment))?;
                    files.sync_folder()
                });
            }
        }
    }
}
