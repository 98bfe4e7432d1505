//! Device rules as an eBPF program, which is how v2 has them (`BPF_PROG_TYPE_CGROUP_DEVICE`).
//!
//! The program gets `struct bpf_cgroup_dev_ctx { access_type, major, minor }`, with the type in the low half of the
//! first word and the access in the high half, and answers 1 or 0.

use super::device_rules::Rule;

const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbf;
const MOVE: u8 = 0xb7;
const AND: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
const JUMP_NOT_EQUAL: u8 = 0x55;
const JUMP_NOT_EQUAL_REGISTER: u8 = 0x5d;
const EXIT: u8 = 0x95;

/// Registers: the answer, the context (then scratch), type, access, major, minor.
const ANSWER: u8 = 0;
const SCRATCH: u8 = 1;
const TYPE: u8 = 2;
const ACCESS: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// The kernel's numbers for types and accesses.
const BLOCK: i32 = 1;
const CHARACTER: i32 = 2;
const MKNOD: i32 = 1;
const READ: i32 = 2;
const WRITE: i32 = 4;

fn instruction(code: u8, to: u8, from: u8, offset: i16, value: i32) -> u64 {
    let registers = to | from << 4;
    u64::from(code)
        | u64::from(registers) << 8
        | u64::from(offset as u16) << 16
        | u64::from(value as u32) << 32
}

/// The program that allows what one of the rules allows.
pub(super) fn program(rules: &[Rule]) -> Vec<u64> {
    let mut code = vec![
        instruction(LOAD_WORD, TYPE, SCRATCH, 0, 0),
        instruction(MOVE_REGISTER, ACCESS, TYPE, 0, 0),
        instruction(AND, TYPE, 0, 0, 0xffff),
        instruction(SHIFT_RIGHT, ACCESS, 0, 0, 16),
        instruction(LOAD_WORD, MAJOR, SCRATCH, 4, 0),
        instruction(LOAD_WORD, MINOR, SCRATCH, 8, 0),
    ];
    rules.iter().for_each(|r| code.extend(rule(r)));
    code.extend(answer(0));
    code
}

fn answer(value: i32) -> [u64; 2] {
    [instruction(MOVE, ANSWER, 0, 0, value), instruction(EXIT, 0, 0, 0, 0)]
}

/// Jumps behind itself at the first thing that does not match.
fn rule(rule: &Rule) -> Vec<u64> {
    let kind = match rule.kind {
        'b' => Some(BLOCK),
        'c' => Some(CHARACTER),
        _ => None,
    };
    let bit = |letter: char, value: i32| if rule.access.contains(letter) { value } else { 0 };
    let access = bit('m', MKNOD) | bit('r', READ) | bit('w', WRITE);
    let number = |n: Option<u32>| n.map(|n| n as i32);
    let mut tests: Vec<(u8, u8, u8, i32)> = Vec::new();
    tests.extend(kind.map(|kind| (JUMP_NOT_EQUAL, TYPE, 0, kind)));
    if access != MKNOD | READ | WRITE {
        tests.push((MOVE_REGISTER, SCRATCH, ACCESS, 0));
        tests.push((AND, SCRATCH, 0, access));
        tests.push((JUMP_NOT_EQUAL_REGISTER, SCRATCH, ACCESS, 0));
    }
    tests.extend(number(rule.major).map(|major| (JUMP_NOT_EQUAL, MAJOR, 0, major)));
    tests.extend(number(rule.minor).map(|minor| (JUMP_NOT_EQUAL, MINOR, 0, minor)));
    let length = tests.len() + answer(1).len();
    let jumps = |code: u8| code == JUMP_NOT_EQUAL || code == JUMP_NOT_EQUAL_REGISTER;
    let placed = tests.into_iter().enumerate().map(|(at, (code, to, from, value))| {
        let offset = if jumps(code) { (length - at - 1) as i16 } else { 0 };
        instruction(code, to, from, offset, value)
    });
    placed.chain(answer(1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::{Cgroups, DeviceRules};

    /// On machines with a cgroup2 mount: the kernel accepts the program, and it decides.
    #[test]
    fn the_kernel_takes_the_program() {
        let Some(root) = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"].into_iter().find(|root| {
            std::path::Path::new(root).join("cgroup.controllers").exists()
                && rustix::process::geteuid().is_root()
        }) else {
            return;
        };
        let group = Cgroups::V2(root.into()).group(&format!("ironclad-devices-{}", std::process::id()));
        group.create(false).expect("a group");
        group.restrict_devices(&DeviceRules::restricted()).expect("a program that the kernel accepts");
        let script =
            "head -c 1 /dev/zero >/dev/null || exit 1; head -c 1 /dev/kmsg >/dev/null 2>&1 && exit 2; exit 0";
        let procs = group.entrances().remove(0);
        let enter = format!("echo 0 > {}; {script}", procs.display());
        let status = std::process::Command::new("sh").args(["-c", &enter]).status().expect("a shell");
        group.remove().expect("removed");
        assert_eq!(status.code(), Some(0));
    }

    #[test]
    fn a_rule_is_a_chain_of_tests() {
        let rule = Rule { kind: 'c', major: Some(1), minor: None, access: "r".to_owned() };
        let code: Vec<_> =
            super::rule(&rule).iter().map(|word| (*word as u8, (*word >> 16) as i16)).collect();
        let expected = [
            (JUMP_NOT_EQUAL, 6),
            (MOVE_REGISTER, 0),
            (AND, 0),
            (JUMP_NOT_EQUAL_REGISTER, 3),
            (JUMP_NOT_EQUAL, 2),
            (MOVE, 0),
            (EXIT, 0),
        ];
        assert_eq!(code, expected);
    }
}
