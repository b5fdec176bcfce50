//! Handles as C holds them: checked for what they are, however they were used before.
//!
//! C has no way to hold a pointer that cannot dangle. What it gets is therefore not the object's address but that of a
//! slot, in memory that is never given back: a handle that was freed, is of another kind, or is no handle at all is
//! recognized without a look at foreign memory, and is an invalid argument. A slot counts the calls that use its
//! object. Freeing takes the handle out of use at once; the object goes when the last of those calls is done.
//!
//! Slots are used again in turn, and at least half of them are free, so that a handle that was freed is recognized for
//! long, though not for ever. There are no locks: a switch is thrown in signal handlers, and a forked child frees.

use super::text::invalid;
use crate::error::Result;
use std::marker::PhantomData;
use std::ops::Deref;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// What C may hold a handle of.
pub(super) trait Handle: Send + Sync {
    /// Which of [`NAMES`] it is.
    const KIND: usize;
}

/// The kinds' names in C, by number; a slot that was never used has none.
const NAMES: [&str; 5] = [
    "",
    "vmdk_client",
    "vmdk_service",
    "vmdk_cancel",
    "vmdk_error",
];

/// Of a slot's state: which kind its handle is or was.
const KIND: usize = 7;

/// Of a slot's state: the handle was not freed.
const LIVE: usize = 8;

/// Of a slot's state: one call that uses the object.
const USER: usize = 16;

/// Where a handle points to.
struct Slot {
    /// [`KIND`], [`LIVE`], and [`USER`] as often as the object is in use.
    state: AtomicUsize,
    /// A box of the kind's, from before it is live until its last user is done.
    object: AtomicPtr<()>,
}

/// Slots in the first chunk; each further one has twice as many.
const FIRST: usize = 256;

/// The chunks of slots, filled from the first on.
static CHUNKS: [AtomicPtr<Slot>; 24] = [const { AtomicPtr::new(ptr::null_mut()) }; 24];

/// Slots that cannot be used anew.
static TAKEN: AtomicUsize = AtomicUsize::new(0);

/// Where the search for a free slot begins, modulo their number.
static NEXT: AtomicUsize = AtomicUsize::new(0);

/// An object of which a call has a share. Whoever lets go of it last destroys it, if it was freed.
pub(super) struct Use<T: Handle> {
    slot: &'static Slot,
    of: PhantomData<T>,
}

/// What a pointer from C is instead of a handle that is live and of the kind asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Wrong {
    Null,
    Freed,
    Kind(&'static str),
    Foreign,
}

/// A new handle to `object`.
pub(super) fn make<T: Handle>(object: T) -> *mut T {
    let slot = reserve();
    let object = Box::into_raw(Box::new(object));
    slot.object.store(object.cast(), Ordering::Relaxed);
    slot.state.store(T::KIND | LIVE, Ordering::Release);
    ptr::from_ref(slot).cast_mut().cast()
}

/// The object of the handle that `name` must be.
pub(super) fn borrow<T: Handle>(handle: *const T, name: &str) -> Result<Use<T>> {
    look(handle).map_err(|wrong| {
        invalid(match wrong {
            Wrong::Null => format!("{name} is NULL"),
            Wrong::Freed => format!("{name} was freed"),
            Wrong::Kind(kind) => format!("{name} is a {kind}, not a {}", NAMES[T::KIND]),
            Wrong::Foreign => format!("{name} is not a {} of this library", NAMES[T::KIND]),
        })
    })
}

/// The object of a handle.
pub(super) fn look<T: Handle>(handle: *const T) -> std::result::Result<Use<T>, Wrong> {
    take(handle, |state| state + USER)
}

/// Frees a handle: no call after this finds the object. `None` for what is no live handle.
pub(super) fn retire<T: Handle>(handle: *const T) -> Option<Use<T>> {
    take(handle, |state| (state & !LIVE) + USER).ok()
}

/// A share of a live handle's object, its slot's state changed as `change` says.
fn take<T: Handle>(
    handle: *const T,
    change: impl Fn(usize) -> usize,
) -> std::result::Result<Use<T>, Wrong> {
    if handle.is_null() {
        return Err(Wrong::Null);
    }
    let slot = find(handle.addr()).ok_or(Wrong::Foreign)?;
    let mut state = slot.state.load(Ordering::Relaxed);
    loop {
        if state & LIVE == 0 {
            let used = state & KIND != 0;
            return Err(if used { Wrong::Freed } else { Wrong::Foreign });
        }
        if state & KIND != T::KIND {
            return Err(Wrong::Kind(NAMES[state & KIND]));
        }
        match slot.state.compare_exchange_weak(
            state,
            change(state),
            Ordering::Acquire,
            Ordering::Relaxed,
        ) {
            Ok(_) => {
                return Ok(Use {
                    slot,
                    of: PhantomData,
                });
            }
            Err(now) => state = now,
        }
    }
}

impl<T: Handle> Use<T> {
    /// Whether no other call uses the object now.
    pub(super) fn is_only(&self) -> bool {
        self.slot.state.load(Ordering::Acquire) < 2 * USER
    }
}

impl<T: Handle> Deref for Use<T> {
    type Target = T;

    fn deref(&self) -> &T {
        let object = self.slot.object.load(Ordering::Relaxed);
        // SAFETY: `make` put a box of `T` there before the slot was live as `T::KIND`; it stays until the last `Use`
        // of a freed handle is dropped.
        unsafe { &*object.cast::<T>() }
    }
}

impl<T: Handle> Drop for Use<T> {
    fn drop(&mut self) {
        let slot = self.slot;
        let mut state = slot.state.load(Ordering::Acquire);
        // Freed, and with no user but this: then no other comes.
        while state & LIVE != 0 || state >= 2 * USER {
            match slot.state.compare_exchange_weak(
                state,
                state - USER,
                Ordering::Release,
                Ordering::Acquire,
            ) {
                Ok(_) => return,
                Err(now) => state = now,
            }
        }
        let object = slot.object.swap(ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: the box that `make` put there, which nobody uses any more; taken out once.
        drop(unsafe { Box::from_raw(object.cast::<T>()) });
        slot.state.store(state & KIND, Ordering::Release);
        TAKEN.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A slot that nobody else can find or reserve.
fn reserve() -> &'static Slot {
    TAKEN.fetch_add(1, Ordering::Relaxed);
    loop {
        let count = count();
        if TAKEN.load(Ordering::Relaxed) * 2 > count {
            grow();
            continue;
        }
        for _ in 0..count {
            let number = NEXT.fetch_add(1, Ordering::Relaxed) % count;
            if let Some(slot) = slot(number)
                && let state = slot.state.load(Ordering::Relaxed)
                && state & LIVE == 0
                && state < USER
                && slot
                    .state
                    .compare_exchange(state, state + USER, Ordering::Acquire, Ordering::Relaxed)
                    .is_ok()
            {
                return slot;
            }
        }
    }
}

/// How many slots there are.
fn count() -> usize {
    let chunks = CHUNKS.iter();
    let made = chunks.take_while(|chunk| !chunk.load(Ordering::Acquire).is_null());
    FIRST * ((1 << made.count()) - 1)
}

/// The slot of that number.
fn slot(number: usize) -> Option<&'static Slot> {
    let mut first = 0;
    for (index, chunk) in CHUNKS.iter().enumerate() {
        let length = FIRST << index;
        if number < first + length {
            let start = chunk.load(Ordering::Acquire);
            // SAFETY: a chunk of that length, which is never freed.
            return (!start.is_null()).then(|| unsafe { &*start.add(number - first) });
        }
        first += length;
    }
    None
}

/// The slot at an address.
fn find(address: usize) -> Option<&'static Slot> {
    for (index, chunk) in CHUNKS.iter().enumerate() {
        let start = chunk.load(Ordering::Acquire);
        if start.is_null() {
            return None;
        }
        let offset = address.wrapping_sub(start.addr());
        if offset < (FIRST << index) * size_of::<Slot>() {
            let is_slot = offset % size_of::<Slot>() == 0;
            // SAFETY: within the chunk, which is never freed.
            return is_slot.then(|| unsafe { &*start.add(offset / size_of::<Slot>()) });
        }
    }
    None
}

/// Makes another chunk, unless another thread does.
fn grow() {
    let mut chunks = CHUNKS.iter().enumerate();
    let next = chunks.find(|(_, chunk)| chunk.load(Ordering::Acquire).is_null());
    let Some((index, chunk)) = next else {
        return;
    };
    let slots: Box<[Slot]> = (0..FIRST << index)
        .map(|_| Slot {
            state: AtomicUsize::new(0),
            object: AtomicPtr::default(),
        })
        .collect();
    let slots = Box::into_raw(slots);
    let published = chunk.compare_exchange(
        ptr::null_mut(),
        slots.cast(),
        Ordering::Release,
        Ordering::Relaxed,
    );
    if published.is_err() {
        // SAFETY: made above, and nobody else has it.
        drop(unsafe { Box::from_raw(slots) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
    use std::thread;

    /// The slots are those of the process: one test that uses them up lets another's stale handles be
    /// found live again.
    fn alone() -> MutexGuard<'static, ()> {
        static ONE: Mutex<()> = Mutex::new(());
        ONE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    struct Thing(Arc<AtomicUsize>);

    impl Handle for Thing {
        const KIND: usize = 3;
    }

    impl Drop for Thing {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }

    struct Other;

    impl Handle for Other {
        const KIND: usize = 4;
    }

    fn told<T: Handle>(handle: *const T) -> String {
        borrow(handle, "it")
            .err()
            .map_or(String::new(), |error| error.to_string())
    }

    #[test]
    fn what_is_no_live_handle_of_the_kind_is_told_from_it() {
        let _alone = alone();
        let thing = make(Thing(Arc::default()));
        assert_eq!(told(thing), "");
        assert!(told(thing.cast::<Other>()).contains("it is a vmdk_cancel, not a vmdk_error"));
        assert!(retire(thing.cast::<Other>()).is_none());
        assert!(told(ptr::null::<Thing>()).contains("it is NULL"));
        let local = 7_u64;
        for foreign in [
            ptr::from_ref(&local).cast::<Thing>(),
            thing.cast::<u8>().wrapping_add(1).cast(),
        ] {
            assert!(told(foreign).contains("it is not a vmdk_cancel of this library"));
            assert!(retire(foreign).is_none());
        }
        drop(retire(thing).unwrap());
        assert!(told(thing).contains("it was freed"));
        assert!(retire(thing).is_none(), "freed twice");
    }

    #[test]
    fn an_object_goes_with_its_last_user() {
        let _alone = alone();
        let dropped = Arc::new(AtomicUsize::new(0));
        let thing = make(Thing(dropped.clone()));
        let first = borrow(thing, "it").unwrap();
        let second = borrow(thing, "it").unwrap();
        let freed = retire(thing).unwrap();
        assert!(!freed.is_only());
        drop(freed);
        drop(first);
        assert!(borrow(thing, "it").is_err());
        assert!(second.is_only());
        assert_eq!(dropped.load(Ordering::SeqCst), 0);
        drop(second);
        assert_eq!(dropped.load(Ordering::SeqCst), 1);
    }

    #[test]
    fn a_freed_handle_is_recognized_for_long() {
        let _alone = alone();
        let thing = make(Thing(Arc::default()));
        drop(retire(thing));
        for _ in 0..FIRST / 4 {
            let later = make(Other);
            assert_ne!(later.cast(), thing);
            drop(retire(later));
        }
        assert!(told(thing).contains("it was freed"));
    }

    #[test]
    fn threads_that_make_use_and_free_at_once_lose_and_mix_up_nothing() {
        let _alone = alone();
        let dropped = Arc::new(AtomicUsize::new(0));
        let made = 8 * 500;
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..5 {
                        let things: Vec<_> =
                            (0..100).map(|_| make(Thing(dropped.clone()))).collect();
                        for (number, thing) in things.iter().enumerate() {
                            assert!(!things[..number].contains(thing));
                            assert!(Arc::ptr_eq(&borrow(*thing, "it").unwrap().0, &dropped));
                        }
                        for thing in things {
                            drop(retire(thing).unwrap());
                        }
                    }
                });
            }
        });
        assert_eq!(dropped.load(Ordering::SeqCst), made);
    }

    #[test]
    fn of_frees_at_once_one_is_the_free() {
        let _alone = alone();
        for _ in 0..200 {
            let dropped = Arc::new(AtomicUsize::new(0));
            let thing = make(Thing(dropped.clone())).expose_provenance();
            let freed: usize = thread::scope(|scope| {
                let free =
                    || usize::from(retire(ptr::with_exposed_provenance::<Thing>(thing)).is_some());
                let threads: Vec<_> = (0..4).map(|_| scope.spawn(free)).collect();
                threads
                    .into_iter()
                    .map(|thread| thread.join().unwrap())
                    .sum()
            });
            assert_eq!(freed, 1);
            assert_eq!(dropped.load(Ordering::SeqCst), 1);
        }
    }
}
