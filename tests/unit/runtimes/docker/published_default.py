"""What Docker Engine's published default profile allows to a container without capabilities.

Facts of moby/profiles, seccomp/v0.2.3, seccomp/default.json as last changed on 2026-05-06
(3c28324314729dbade8287e868eef6338c42807a; Apache License 2.0).
"""

from pathlib import Path

ALWAYS = frozenset(Path(__file__).with_suffix(".txt").read_text().split())

SINCE_LINUX_4_8 = frozenset({"process_vm_readv", "process_vm_writev", "ptrace"})

BY_MACHINE = {
    "ppc64le": {"sync_file_range2", "swapcontext"},
    "arm64": {
        *("arm_fadvise64_64", "arm_sync_file_range", "sync_file_range2", "breakpoint"),
        *("cacheflush", "set_tls"),
    },
    "amd64": {"arch_prctl", "modify_ldt"},
    "s390x": {"s390_pci_mmio_read", "s390_pci_mmio_write", "s390_runtime_instr"},
    "riscv64": {"riscv_flush_icache"},
}

BY_ARGUMENT = frozenset({"socket", "personality", "clone"})
PERSONALITIES = frozenset({0, 8, 0x20000, 0x20008, 0xFFFFFFFF})
NAMESPACES = 0x7E020000
"""No bit of these may be set in the flags of clone."""


def allows_socket(family: int) -> bool:
    return family < 38 or family == 39 or family > 40
