//! The handler, and all that is unsafe of it.

use std::io;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use libc::{c_int, c_void, sigaction, siginfo_t, ucontext_t};

use super::line::Line;
use super::maps::Search;
use crate::exit_now::exit_now;

const PAGE_BYTES: u64 = 4096;
const EXIT_CODE: i32 = 1;
/// So much of the stack is searched for calls from LMDB: enough for `memcpy`, and for `abort` with its callers.
const STACK_BYTES_MAX: u64 = 2048;

const SIGNALS: [c_int; 3] = [libc::SIGSEGV, libc::SIGBUS, libc::SIGABRT];
/// Who handled each of them before.
static PREVIOUS: [OnceLock<sigaction>; 3] = [const { OnceLock::new() }; 3];
/// A thread is writing the line already.
static ENDING: AtomicBool = AtomicBool::new(false);

/// Lets faults in the database end the process by name, from now on in all threads.
///
/// # Errors
/// What the system says; then faults end the process as before.
pub fn end_by_name() -> io::Result<()> {
    SIGNALS
        .iter()
        .zip(&PREVIOUS)
        .try_for_each(|(signal, previous)| take(*signal, previous))
}

fn take(signal: c_int, previous: &OnceLock<sigaction>) -> io::Result<()> {
    if previous.get().is_some() {
        return Ok(());
    }
    // SAFETY: all of its fields are numbers or an optional pointer, for which zero is a value.
    let mut action: sigaction = unsafe { MaybeUninit::zeroed().assume_init() };
    let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) = on_fault;
    action.sa_sigaction = handler as usize;
    // On the thread's own stack: one that is set aside for handlers may be too small for the line.
    action.sa_flags = libc::SA_SIGINFO;
    let mut before = MaybeUninit::<sigaction>::zeroed();
    // SAFETY: it is asked for the present action alone, and writes it.
    if unsafe { libc::sigaction(signal, ptr::null(), before.as_mut_ptr()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it was written, and any bytes would do.
    let before = unsafe { before.assume_init() };
    // Known before the handler can run.
    if previous.set(before).is_err() {
        return Ok(());
    }
    // SAFETY: `action` is complete, and its handler calls only what is async-signal-safe.
    if unsafe { libc::sigaction(signal, &raw const action, ptr::null_mut()) } != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// What a signal says.
#[derive(Clone, Copy)]
struct Fault {
    signal: c_int,
    /// What could not be reached; 0: no memory can have that address, or none is meant.
    address: u64,
    instruction: u64,
    stack: u64,
}

extern "C" fn on_fault(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel hands over a whole record.
    let information = unsafe { &*info };
    // An abort is sent by this process itself; faults that others send have no address.
    let is_abort = signal == libc::SIGABRT && information.si_code == libc::SI_TKILL;
    if information.si_code > 0 || is_abort {
        let (instruction, stack) = place(context);
        let address = if is_abort {
            0
        } else {
            // SAFETY: a fault of the kernel's has an address.
            unsafe { information.si_addr() as u64 }
        };
        name_end(Fault {
            signal,
            address,
            instruction,
            stack,
        });
    }
    pass_on(signal, info, context);
}

/// Where the thread was: its instruction and its stack pointer.
fn place(context: *mut c_void) -> (u64, u64) {
    // SAFETY: with SA_SIGINFO the kernel hands over the thread's whole context.
    let context = unsafe { &*context.cast::<ucontext_t>() };
    let machine = &context.uc_mcontext;
    #[cfg(target_arch = "x86_64")]
    return (
        machine.gregs[libc::REG_RIP as usize] as u64,
        machine.gregs[libc::REG_RSP as usize] as u64,
    );
    #[cfg(target_arch = "aarch64")]
    return (machine.pc, machine.sp);
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return (0, 0);
}

/// Whether LMDB is what runs, or what has called it.
fn is_in_library(fault: Fault, search: &Search) -> bool {
    if search.library.contains(&fault.instruction) {
        return true;
    }
    let mut at = fault.stack.next_multiple_of(8);
    let end = search.stack_end.min(at.saturating_add(STACK_BYTES_MAX));
    while at + 8 <= end {
        // SAFETY: it is aligned, and lies between the stack pointer and the end of the mapped memory.
        let word = unsafe { (at as *const u64).read_volatile() };
        if search.library.contains(&word) {
            return true;
        }
        at += 8;
    }
    false
}

fn name_end(fault: Fault) {
    let mut search = Search::new(fault.address, fault.instruction, fault.stack);
    read_maps(&mut search);
    let is_of_database = search.database.is_some() || is_in_library(fault, &search);
    // An abort says why by itself; and WebAssembly, which V8 compiles, may fault without harm.
    let is_crash = fault.signal != libc::SIGABRT && search.code.is_some();
    if !is_of_database && !is_crash {
        return;
    }
    if ENDING.swap(true, Ordering::SeqCst) {
        // The first thread ends the process.
        loop {
            // SAFETY: it takes nothing.
            unsafe { libc::pause() };
        }
    }
    let line = describe(fault, &search, is_of_database);
    let bytes = line.as_bytes();
    // SAFETY: `bytes` is readable for its length; what stderr does not take is lost.
    let _ = unsafe { libc::write(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len()) };
    if is_of_database {
        exit_now(EXIT_CODE);
    }
}

fn read_maps(search: &mut Search) {
    // SAFETY: the path ends with a zero.
    let fd = unsafe {
        libc::open(
            c"/proc/self/maps".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        return;
    }
    let mut bytes = [0u8; 4096];
    loop {
        // SAFETY: `bytes` is writable for its length.
        let count = unsafe { libc::read(fd, bytes.as_mut_ptr().cast(), bytes.len()) };
        if count <= 0 {
            break;
        }
        search.feed(&bytes[..count as usize]);
    }
    // SAFETY: it was opened above.
    unsafe { libc::close(fd) };
}

fn describe(fault: Fault, search: &Search, is_of_database: bool) -> Line {
    let mut now = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: `now` is writable.
    unsafe { libc::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    let mut line = Line::new();
    line.print(format_args!("{{\"level\":\"fatal\",\"ts\":\""));
    line.time(now.tv_sec as u64, (now.tv_nsec / 1000) as u32);
    let message = if is_of_database {
        "failed to read the database"
    } else {
        "the process has crashed"
    };
    line.print(format_args!(
        "\",\"caller\":\"fault_end/signals.rs:{}\",\"msg\":\"{message}\",\"error\":\"",
        line!()
    ));
    name_place(&mut line, fault, search, is_of_database);
    let name = match fault.signal {
        libc::SIGBUS => "SIGBUS",
        libc::SIGABRT => "SIGABRT",
        _ => "SIGSEGV",
    };
    let cause = if is_of_database {
        "the disk failed, the file was cut short, or a page has rotted"
    } else {
        "this is a fault of the program, or a page of the database has rotted"
    };
    line.print(format_args!(
        " ({name}): {cause}. Nothing was changed. Start again: the whole database is checked then; if it is refused, \
         replace this member, or restore a snapshot\"}}\n"
    ));
    line
}

fn name_place(line: &mut Line, fault: Fault, search: &Search, is_of_database: bool) {
    let address = fault.address;
    match (&search.database, &search.code) {
        (Some(region), _) => {
            let page = region.file_offset(address) / PAGE_BYTES;
            line.print(format_args!("page {page} of "));
            line.text(region.path());
            line.print(format_args!(" cannot be read"));
        }
        _ if fault.signal == libc::SIGABRT => {
            line.print(format_args!("a page of it is not what LMDB expects"));
        }
        (None, Some(code)) if !is_of_database => {
            line.text(code.path());
            let at = code.file_offset(fault.instruction);
            line.print(format_args!(
                " at {at:#x} was led to the address {address:#x}"
            ));
        }
        _ => line.print(format_args!("LMDB was led to the address {address:#x}")),
    }
}

/// To who handled the signal before, or to the system.
fn pass_on(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let place = SIGNALS.iter().position(|each| *each == signal);
    match place.and_then(|place| PREVIOUS[place].get()) {
        Some(action)
            if action.sa_sigaction != libc::SIG_DFL && action.sa_sigaction != libc::SIG_IGN =>
        {
            call(action, signal, info, context);
        }
        _ => end_by_signal(signal, info),
    }
}

fn call(action: &sigaction, signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let handler = action.sa_sigaction as *const ();
    if action.sa_flags & libc::SA_SIGINFO != 0 {
        // SAFETY: with this flag, who set the action has given such a function.
        let handler: extern "C" fn(c_int, *mut siginfo_t, *mut c_void) =
            unsafe { std::mem::transmute(handler) };
        handler(signal, info, context);
    } else {
        // SAFETY: without the flag, such a one.
        let handler: extern "C" fn(c_int) = unsafe { std::mem::transmute(handler) };
        handler(signal);
    }
}

/// A fault comes again at once; a signal that somebody sent has to be raised again.
fn end_by_signal(signal: c_int, info: *mut siginfo_t) {
    // SAFETY: the default action takes any signal.
    unsafe { libc::signal(signal, libc::SIG_DFL) };
    // SAFETY: the kernel hands over a whole record.
    let code = unsafe { (*info).si_code };
    if code <= 0 {
        // SAFETY: it takes any signal; this one is blocked until the handler has returned.
        unsafe { libc::raise(signal) };
    }
}
