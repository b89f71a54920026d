//! System calls by their numbers, and those of the 32-bit table from a program of 64 bits.

/// Bytes at an address that 32 bits hold.
pub fn low_copy(bytes: &[u8]) -> u32 {
    // SAFETY: a fresh page, larger than the bytes.
    unsafe {
        let page = libc::mmap(
            std::ptr::null_mut(),
            4096,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT,
            -1,
            0,
        );
        assert_ne!(page, libc::MAP_FAILED);
        std::ptr::copy_nonoverlapping(bytes.as_ptr(), page.cast(), bytes.len());
        page.addr() as u32
    }
}

/// A call of the 32-bit table, by its own entry. Its fourth and fifth arguments are 0.
#[cfg(target_arch = "x86_64")]
pub fn call_32(number: u32, first: u32, second: u32, third: u32) -> i32 {
    call_32_with(number, [first, second, third, 0, 0])
}

/// The same with all five arguments.
#[cfg(target_arch = "x86_64")]
pub fn call_32_with(number: u32, arguments: [u32; 5]) -> i32 {
    let [first, second, third, fourth, fifth] = arguments;
    let result: i32;
    // SAFETY: a system call; `rbx`, which the compiler keeps for itself, is restored.
    unsafe {
        std::arch::asm!(
            "xchg rbx, {first:r}",
            "int 0x80",
            "xchg rbx, {first:r}",
            first = inout(reg) u64::from(first) => _,
            inlateout("eax") number => result,
            in("ecx") second,
            in("edx") third,
            in("esi") fourth,
            in("edi") fifth,
        );
    }
    result
}

/// A call by its number in the 64-bit table; an error as the kernel returns it.
pub fn call_64(number: i64, arguments: [i64; 6]) -> i64 {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: what is given is the test's own: memory that lives, and its own process and children.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => -i64::from(std::io::Error::last_os_error().raw_os_error().unwrap_or(0)),
        result => result,
    }
}
