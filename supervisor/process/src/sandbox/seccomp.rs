//! System calls that a module may not make: a small BPF program, written out by hand so that it also meets calls made
//! under another numbering of the same machine (x32), which lists by number alone let through.

use std::io;

use mainstay_model::Seccomp;
use nix::libc::{self, sock_filter};

use super::ConfinementError;

/// System calls that change the machine as a whole or look into other processes.
const MACHINE: &[libc::c_long] = &[
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_open_by_handle_at,
    #[cfg(not(target_arch = "arm"))]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
];

/// Architecture of the system call as the kernel numbers it (`AUDIT_ARCH_…`).
#[cfg(target_arch = "x86_64")]
const ARCH: Option<u32> = Some(0xc000_003e);
#[cfg(target_arch = "aarch64")]
const ARCH: Option<u32> = Some(0xc000_00b7);
#[cfg(target_arch = "arm")]
const ARCH: Option<u32> = Some(0x4000_0028);
#[cfg(target_arch = "riscv64")]
const ARCH: Option<u32> = Some(0xc000_00f3);
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "arm",
    target_arch = "riscv64"
)))]
const ARCH: Option<u32> = None;

/// Numbers from here on are x32 calls; there are none on other machines.
#[cfg(target_arch = "x86_64")]
const X32: Option<u32> = Some(0x4000_0000);
#[cfg(not(target_arch = "x86_64"))]
const X32: Option<u32> = None;

/// Offsets into `struct seccomp_data`; arguments have 64 bits, the lower half first on these machines.
const NUMBER: u32 = 0;
const MACHINE_KIND: u32 = 4;
const FIRST_ARGUMENT: u32 = 16;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
const KILL: u32 = libc::SECCOMP_RET_KILL_PROCESS;
const DENY: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
/// Errno for a forbidden kind of socket: the one programs know from machines where that kind is not built in.
const NO_SUCH_SOCKET: u32 = libc::SECCOMP_RET_ERRNO | libc::EAFNOSUPPORT as u32;
const NO_SUCH_CALL: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

/// A filter, ready to be set.
#[derive(Debug)]
pub(super) struct BpfProgram(Vec<sock_filter>);

impl BpfProgram {
    /// The filter for a profile.
    pub(super) fn new(profile: Seccomp) -> Result<Self, ConfinementError> {
        let Some(arch) = ARCH else {
            return Err(ConfinementError(
                "`sandbox.seccomp` is not known for this kind of processor; remove it".to_owned(),
            ));
        };
        let mut program = vec![
            step(LOAD, MACHINE_KIND),
            jump(IF_EQUAL, arch, 1, 0),
            // Another numbering altogether: what a number means there, this list does not say.
            step(RETURN, KILL),
            step(LOAD, NUMBER),
        ];
        if let Some(first) = X32 {
            program.extend([jump(IF_AT_LEAST, first, 0, 1), step(RETURN, DENY)]);
        }
        if profile == Seccomp::NoNetwork {
            // Its ring makes sockets without a call that a filter sees.
            program.extend(refuse(libc::SYS_io_uring_setup, NO_SUCH_CALL));
            program.extend([
                jump(IF_EQUAL, number(libc::SYS_socket), 0, 4),
                step(LOAD, FIRST_ARGUMENT),
                jump(IF_EQUAL, libc::AF_UNIX as u32, 1, 0),
                step(RETURN, NO_SUCH_SOCKET),
                step(RETURN, ALLOW),
            ]);
        }
        program.extend(MACHINE.iter().flat_map(|call| refuse(*call, DENY)));
        program.push(step(RETURN, ALLOW));
        Ok(Self(program))
    }

    /// Sets it for the calling process, for ever. In the child: one system call. `no_new_privs` must be set.
    #[expect(unsafe_code, reason = "no safe wrapper in nix or std")]
    pub(super) fn enter(&self) -> io::Result<()> {
        let program = libc::sock_fprog {
            len: u16::try_from(self.0.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?,
            filter: self.0.as_ptr().cast_mut(),
        };
        // SAFETY: the kernel reads the program, which outlives the call, and writes nothing.
        let done = unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &raw const program) };
        if done == 0 {
            Ok(())
        } else {
            Err(io::Error::last_os_error())
        }
    }
}

fn number(call: libc::c_long) -> u32 {
    u32::try_from(call).expect("numbers of system calls are small")
}

fn refuse(call: libc::c_long, how: u32) -> [sock_filter; 2] {
    [jump(IF_EQUAL, number(call), 0, 1), step(RETURN, how)]
}

fn step(code: u16, k: u32) -> sock_filter {
    jump(code, k, 0, 0)
}

fn jump(code: u16, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter {
        code,
        jt: yes,
        jf: no,
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Verdict of the program on a call: a BPF machine of the four instructions in use.
    fn judge(program: &[sock_filter], arch: u32, call: u32, first: u32) -> u32 {
        let (mut at, mut loaded) = (0, 0);
        loop {
            let instruction = &program[at];
            at += 1;
            let jump = |yes| usize::from(if yes { instruction.jt } else { instruction.jf });
            match instruction.code {
                LOAD => {
                    loaded = match instruction.k {
                        NUMBER => call,
                        MACHINE_KIND => arch,
                        FIRST_ARGUMENT => first,
                        other => panic!("no field at {other}"),
                    }
                }
                IF_EQUAL => at += jump(loaded == instruction.k),
                IF_AT_LEAST => at += jump(loaded >= instruction.k),
                RETURN => return instruction.k,
                other => panic!("unknown instruction {other}"),
            }
        }
    }

    #[test]
    fn a_profile_forbids_what_it_says_and_nothing_else() {
        let Some(arch) = ARCH else { return };
        let inet = libc::AF_INET as u32;
        let unix = libc::AF_UNIX as u32;
        for (call, first, default, no_network) in [
            (libc::SYS_read, 0, ALLOW, ALLOW),
            (libc::SYS_mount, 0, DENY, DENY),
            (libc::SYS_ptrace, 0, DENY, DENY),
            (libc::SYS_open_by_handle_at, 0, DENY, DENY),
            (libc::SYS_socket, unix, ALLOW, ALLOW),
            (libc::SYS_socket, inet, ALLOW, NO_SUCH_SOCKET),
            (libc::SYS_socket, libc::AF_NETLINK as u32, ALLOW, NO_SUCH_SOCKET),
            (libc::SYS_io_uring_setup, 0, ALLOW, NO_SUCH_CALL),
            (libc::SYS_execve, 0, ALLOW, ALLOW),
        ] {
            for (profile, expected) in [(Seccomp::Default, default), (Seccomp::NoNetwork, no_network)] {
                let program = BpfProgram::new(profile).expect("known processor");
                let said = judge(&program.0, arch, number(call), first);
                assert_eq!(said, expected, "{profile:?}: call {call} with {first}");
            }
        }
    }

    #[test]
    fn another_numbering_is_no_way_around_it() {
        let Some(arch) = ARCH else { return };
        let program = BpfProgram::new(Seccomp::Default).expect("known processor");
        assert_eq!(judge(&program.0, arch ^ 1, 0, 0), KILL);
        if let Some(x32) = X32 {
            assert_eq!(judge(&program.0, arch, x32 | number(libc::SYS_read), 0), DENY);
        }
    }
}
