//! Tasks: what runs after the call that began it has returned.

use std::sync::Arc;
use std::time::Duration;

use crate::wire::{Fault, Object, Outcome, Ref, Value, object};

use super::machine::Lock;
use super::{Shared, World};

/// Tasks that are remembered.
const MOST_TASKS: usize = 2000;

/// How long a task that is over counts as recent.
const RECENT: Duration = Duration::from_secs(600);

pub struct Task {
    pub reference: Ref,
    /// The method that began it.
    pub method: String,
    /// The name of the operation in the message catalogue, such as `VirtualMachine.reconfigure`.
    pub description_id: String,
    pub entity: Option<Ref>,
    pub entity_name: Option<String>,
    pub state: State,
    pub error: Option<Fault>,
    pub result: Option<Value>,
    pub progress: Option<i32>,
    pub user: String,
    pub queued: Duration,
    pub started: Option<Duration>,
    pub completed: Option<Duration>,
    pub cancel_asked: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Queued,
    Running,
    Success,
    Error,
}

impl State {
    pub fn word(self) -> &'static str {
        match self {
            State::Queued => "queued",
            State::Running => "running",
            State::Success => "success",
            State::Error => "error",
        }
    }
}

impl Task {
    pub fn is_over(&self) -> bool {
        matches!(self.state, State::Success | State::Error)
    }

    fn is_cancelable(&self, world: &World) -> bool {
        world.options.cancelable_tasks && !self.is_over() && !self.cancel_asked
    }

    pub fn info(&self, world: &World) -> Object {
        let time = |moment: Duration| world.clock.text_at(moment);
        object("TaskInfo")
            .with("key", &self.reference.id)
            .with("task", &self.reference)
            .with("name", &self.method)
            .with("descriptionId", &self.description_id)
            .with_some("entity", self.entity.as_ref())
            .with_some("entityName", self.entity_name.as_ref())
            .with("state", self.state.word())
            .with("cancelled", self.cancel_asked)
            .with("cancelable", self.is_cancelable(world))
            .with_some("error", self.error.as_ref().map(Fault::localized))
            .with_some("result", self.result.clone())
            .with_some("progress", self.progress)
            .with(
                "reason",
                object("TaskReasonUser").with("userName", &self.user),
            )
            .with("queueTime", time(self.queued))
            .with_some("startTime", self.started.map(time))
            .with_some("completeTime", self.completed.map(time))
            .with("eventChainId", 1)
    }
}

impl World {
    /// A new task in the queue.
    pub fn new_task(
        &mut self,
        method: &str,
        description_id: &str,
        entity: Option<&Ref>,
        user: &str,
    ) -> Ref {
        let reference = self.new_task_ref(description_id);
        let entity_name = entity
            .and_then(|entity| self.node(entity).ok())
            .map(|node| node.name.clone());
        let task = Task {
            reference: reference.clone(),
            method: method.to_owned(),
            description_id: description_id.to_owned(),
            entity: entity.cloned(),
            entity_name,
            state: State::Queued,
            error: None,
            result: None,
            progress: None,
            user: user.to_owned(),
            queued: self.clock.now(),
            started: None,
            completed: None,
            cancel_asked: false,
        };
        self.tasks.insert(reference.id.clone(), task);
        self.forget_old_tasks();
        reference
    }

    /// Forgets the oldest of the tasks that are over, as a server does after some minutes.
    fn forget_old_tasks(&mut self) {
        if self.tasks.len() <= MOST_TASKS {
            return;
        }
        let over = self.tasks.values().filter(|task| task.is_over());
        let oldest = over
            .min_by_key(|task| task.completed)
            .map(|task| task.reference.id.clone());
        if let Some(oldest) = oldest {
            self.tasks.remove(&oldest);
        }
    }

    pub fn task(&self, target: &Ref) -> Outcome<&Task> {
        self.tasks
            .get(&target.id)
            .filter(|task| !(self.options.vanishing_tasks && task.is_over()))
            .filter(|_| target.kind == "Task")
            .ok_or_else(|| Fault::not_found(target))
    }

    /// Asks a task to end before it is done.
    pub fn cancel_task(&mut self, target: &Ref) -> Outcome<()> {
        if !self.task(target)?.is_cancelable(self) {
            return Err(Fault::not_supported("the task cannot be cancelled"));
        }
        if let Some(task) = self.tasks.get_mut(&target.id) {
            task.cancel_asked = true;
        }
        Ok(())
    }

    /// The tasks on an object that are not over, or have not been for long.
    pub fn recent_tasks(&self, target: &Ref) -> Vec<Ref> {
        let now = self.clock.now();
        let on_it = self.tasks.values().filter(|task| {
            let recent = |over: Duration| now.saturating_sub(over) <= RECENT;
            task.entity.as_ref() == Some(target) && task.completed.is_none_or(recent)
        });
        on_it.map(|task| task.reference.clone()).collect()
    }

    pub fn start_task(&mut self, target: &Ref) {
        let now = self.clock.now();
        if let Some(task) = self.tasks.get_mut(&target.id) {
            task.state = State::Running;
            task.started = Some(now);
            task.progress = Some(0);
        }
    }

    /// Ends a task and takes its locks away.
    pub fn finish_task(&mut self, target: &Ref, outcome: Outcome<Option<Value>>) {
        let now = self.clock.now();
        if let Some(task) = self.tasks.get_mut(&target.id) {
            task.completed = Some(now);
            task.progress = None;
            match outcome {
                Ok(result) => {
                    task.state = State::Success;
                    task.result = result;
                }
                Err(fault) => {
                    task.state = State::Error;
                    task.error = Some(fault);
                }
            }
        }
        let lock = Lock::Task(target.clone());
        for node in self.nodes.values_mut() {
            if let super::inventory::Body::Machine(machine) = &mut node.body
                && machine.lock.as_ref() == Some(&lock)
            {
                machine.lock = None;
            }
        }
    }
}

/// What a task does, on a thread where it may block.
pub type Work = Box<dyn FnOnce(&Arc<Shared>, &Ref) -> Outcome<Option<Value>> + Send>;

/// What a task is about.
pub struct TaskSpec<'t> {
    pub method: &'t str,
    pub description_id: &'t str,
    pub entity: Option<&'t Ref>,
    pub user: &'t str,
    /// The machines that nobody else may change while it runs; each must be free already.
    pub locks: &'t [Ref],
}

/// Begins a task; the caller holds no lock on the world.
pub fn spawn(shared: &Arc<Shared>, spec: &TaskSpec<'_>, work: Work) -> Outcome<Ref> {
    let task = {
        let mut world = shared.write();
        for target in spec.locks {
            world.check_machine_free(target, None)?;
        }
        let task = world.new_task(spec.method, spec.description_id, spec.entity, spec.user);
        for target in spec.locks {
            world.machine_mut(target)?.lock = Some(Lock::Task(task.clone()));
        }
        task
    };
    let (shared, reference, method) = (shared.clone(), task.clone(), spec.method.to_owned());
    tokio::spawn(async move {
        // A real task is seen queued and running before it is over.
        tokio::task::yield_now().await;
        let trouble = shared.faults.task(&method);
        if let Some(gate) = &trouble.gate {
            tokio::select! {
                () = gate.wait() => {}
                () = cancelled(&shared, &reference) => {
                    let fault = Fault::new("RequestCanceled", "The task was canceled by a user.");
                    shared.write().finish_task(&reference, Err(fault));
                    return;
                }
            }
        }
        shared.write().start_task(&reference);
        let inner = shared.clone();
        let own = reference.clone();
        let outcome = tokio::task::spawn_blocking(move || match trouble.fault {
            Some((fault, false)) => Err(fault),
            Some((fault, true)) => work(&inner, &own).and(Err(fault)),
            None => work(&inner, &own),
        });
        let outcome = outcome
            .await
            .unwrap_or_else(|_| Err(Fault::system("the simulated task panicked")));
        shared.write().finish_task(&reference, outcome);
    });
    Ok(task)
}

/// Resolves when somebody has cancelled the task.
async fn cancelled(shared: &Arc<Shared>, task: &Ref) {
    let mut changes = shared.changes();
    loop {
        if shared.read().task(task).is_ok_and(|task| task.cancel_asked) {
            return;
        }
        // The sender lives as long as what is shared.
        let _ = changes.changed().await;
    }
}
