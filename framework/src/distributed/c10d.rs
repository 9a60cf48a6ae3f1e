//! libtorch's own c10d as the transport, from the C++ shim in `framework/shim/c10d.cpp`: a TCP
//! store, and Gloo.

#![allow(unsafe_code)]

use super::collective::{Collective, Pending};
use super::launch::{Launch, Meeting};
use crate::{Error, Result};
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null_mut;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tch::Tensor;

/// What tch calls `C_tensor`: an `at::Tensor`.
type At = c_void;
/// Null, or a message for the C library's `free`.
type Message = *mut c_char;

#[repr(C)]
struct FoilStore(c_void);
#[repr(C)]
struct FoilGroup(c_void);
#[repr(C)]
struct FoilWork(c_void);

unsafe extern "C" {
    fn foil_store_open(
        out: *mut *mut FoilStore,
        host: *const c_char,
        port: u16,
        serve: bool,
        prefix: *const c_char,
        timeout: i64,
    ) -> Message;
    fn foil_store_set(store: *mut FoilStore, key: *const c_char, value: *const u8, length: usize) -> Message;
    fn foil_store_has(out: *mut bool, store: *mut FoilStore, key: *const c_char) -> Message;
    fn foil_store_get(
        store: *mut FoilStore,
        key: *const c_char,
        timeout: i64,
        take: extern "C" fn(*mut c_void, *const u8, usize),
        to: *mut c_void,
    ) -> Message;
    fn foil_store_free(store: *mut FoilStore);
    fn foil_gloo_open(
        out: *mut *mut FoilGroup,
        store: *mut FoilStore,
        rank: c_int,
        size: c_int,
        timeout: i64,
    ) -> Message;
    fn foil_group_sum(out: *mut *mut FoilWork, group: *mut FoilGroup, tensor: *const At) -> Message;
    fn foil_group_broadcast(out: *mut *mut FoilWork, group: *mut FoilGroup, tensor: *const At) -> Message;
    fn foil_work_wait(work: *mut FoilWork) -> Message;
    fn foil_group_free(group: *mut FoilGroup);
}

/// Takes a message over.
fn check(message: Message) -> Result<()> {
    if message.is_null() {
        return Ok(());
    }
    // SAFETY: The shim's messages are C strings from `strdup`; this one is read once, then freed,
    // and not used again.
    let text = unsafe {
        let text = CStr::from_ptr(message).to_string_lossy().into_owned();
        libc::free(message.cast());
        text
    };
    Err(Error::torch(&text))
}

fn text(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| Error::new(format!("`{}` holds a zero byte", text.escape_default())))
}

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

/// Where ranks leave notes for each other; rank 0, or torchrun, keeps it.
pub(super) struct Store(*mut FoilStore);

// SAFETY: c10d's TCPStore locks itself; the pointer is freed once, by the last owner.
unsafe impl Send for Store {}
// SAFETY: As above.
unsafe impl Sync for Store {}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: The pointer is from `foil_store_open`, and nothing uses it after this.
        unsafe { foil_store_free(self.0) }
    }
}

impl Store {
    pub(super) fn open(launch: &Launch, meeting: &Meeting) -> Result<Self> {
        let (host, prefix) = (text(&meeting.host)?, text(&meeting.prefix)?);
        let (serve, timeout) = (launch.rank == 0 && !meeting.served, milliseconds(launch.timeout));
        let mut store = null_mut();
        // SAFETY: Both strings and `store` outlive the call.
        let opened =
            unsafe { foil_store_open(&raw mut store, host.as_ptr(), meeting.port, serve, prefix.as_ptr(), timeout) };
        check(opened)?;
        Ok(Self(store))
    }

    pub(super) fn set(&self, key: &str, value: &str) -> Result<()> {
        let key = text(key)?;
        // SAFETY: Key and value outlive the call, which copies them.
        check(unsafe { foil_store_set(self.0, key.as_ptr(), value.as_ptr(), value.len()) })
    }

    pub(super) fn get(&self, key: &str) -> Result<Option<String>> {
        extern "C" fn take(to: *mut c_void, value: *const u8, length: usize) {
            // SAFETY: `to` is the vector below, borrowed by nothing else; `value` holds `length`
            // bytes through this call.
            unsafe { (*to.cast::<Vec<u8>>()).extend_from_slice(std::slice::from_raw_parts(value, length)) }
        }
        let key = text(key)?;
        let (mut there, mut value) = (false, Vec::<u8>::new());
        // SAFETY: Key and flag outlive the call.
        check(unsafe { foil_store_has(&raw mut there, self.0, key.as_ptr()) })?;
        if !there {
            return Ok(None);
        }
        // SAFETY: `take` is called before this returns, with the pointer that is given here.
        check(unsafe { foil_store_get(self.0, key.as_ptr(), 1000, take, (&raw mut value).cast()) })?;
        Ok(Some(String::from_utf8_lossy(&value).into_owned()))
    }
}

/// The ranks' connections; none once this rank has left.
struct Group(Mutex<*mut FoilGroup>);

// SAFETY: The pointer is only used under the lock; c10d's process groups may be called from any
// thread.
unsafe impl Send for Group {}
// SAFETY: As above.
unsafe impl Sync for Group {}

impl Drop for Group {
    fn drop(&mut self) {
        self.close();
    }
}

type Start = unsafe extern "C" fn(*mut *mut FoilWork, *mut FoilGroup, *const At) -> Message;

impl Group {
    fn close(&self) {
        let mut group = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let closed = std::mem::replace(&mut *group, null_mut());
        if !closed.is_null() {
            // SAFETY: The pointer is from `foil_gloo_open`, and was taken out of the only place
            // that uses it.
            unsafe { foil_group_free(closed) }
        }
    }

    fn start(&self, start: Start, tensor: &Tensor) -> Result<Box<dyn Pending>> {
        let group = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if group.is_null() {
            return Err(Error::new("this rank has left the group"));
        }
        let mut work = null_mut();
        // SAFETY: The group is open, and the tensor outlives the call; the work keeps a reference
        // to its memory.
        check(unsafe { start(&raw mut work, *group, tensor.as_ptr().cast()) })?;
        Ok(Box::new(Work(work)))
    }
}

/// A collective under way.
struct Work(*mut FoilWork);

// SAFETY: c10d's works may be waited for on any thread.
unsafe impl Send for Work {}

impl Work {
    fn finish(&mut self) -> Result<()> {
        let work = std::mem::replace(&mut self.0, null_mut());
        if work.is_null() {
            return Ok(());
        }
        // SAFETY: The pointer is from the shim; the call frees it, and it was taken out of the only
        // place that has it.
        check(unsafe { foil_work_wait(work) })
    }
}

impl Pending for Work {
    fn wait(mut self: Box<Self>) -> Result<()> {
        self.finish()
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        // Nobody wants the result any more.
        let _ = self.finish();
    }
}

/// Gloo over TCP, met at a store, exactly as `torch.distributed` does with `backend="gloo"`.
pub(super) struct C10d {
    // In this order: the group uses the store while it closes.
    group: Group,
    store: Store,
}

impl C10d {
    /// Meets the other ranks.
    pub fn join(launch: &Launch, meeting: &Meeting) -> Result<Self> {
        let store = Store::open(launch, meeting)?;
        let (rank, size) = (launch.rank as c_int, launch.size as c_int);
        let mut group = null_mut();
        // SAFETY: The store is open, and libtorch keeps a reference to it.
        check(unsafe { foil_gloo_open(&raw mut group, store.0, rank, size, milliseconds(launch.timeout)) })?;
        Ok(Self { group: Group(Mutex::new(group)), store })
    }
}

impl Collective for C10d {
    fn name(&self) -> &'static str {
        "gloo"
    }

    fn start_sum(&self, tensor: &Tensor) -> Result<Box<dyn Pending>> {
        self.group.start(foil_group_sum, tensor)
    }

    fn broadcast(&self, tensor: &Tensor) -> Result<()> {
        self.group.start(foil_group_broadcast, tensor)?.wait()
    }

    fn leave(&self) {
        self.group.close();
    }

    fn post(&self, key: &str, note: &str) -> Result<()> {
        self.store.set(key, note)
    }

    fn posted(&self, key: &str) -> Result<Option<String>> {
        self.store.get(key)
    }
}
