//! Shares of the file descriptors of the core: what clients of the network leave to modules, and both to the core, which needs
//! some to start modules, to read its config and to say how it is.

/// Largest number of descriptors that clients leave.
const MOST: u64 = 128;

/// User of a descriptor that may have to do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// A connection of a client on the network.
    Clients,
    /// A connection of a module to its parent socket.
    Modules,
}

impl Share {
    /// First descriptor that this user does not get under a soft limit of `limit`. The kernel gives the lowest that is free, so
    /// a number tells how many are in use.
    pub fn end(self, limit: impl Into<u64>) -> u64 {
        let limit = limit.into();
        let kept = (limit / 8).min(MOST);
        match self {
            Self::Clients => limit - kept,
            Self::Modules => limit - kept / 2,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_are_kept_under_any_limit_and_modules_come_before_clients() {
        for (limit, clients, modules) in [
            (0_u64, 0, 0),
            (64, 56, 60),
            (1024, 896, 960),
            (1_048_576, 1_048_448, 1_048_512),
        ] {
            assert_eq!(Share::Clients.end(limit), clients);
            assert_eq!(Share::Modules.end(limit), modules);
        }
        assert_eq!(Share::Clients.end(u64::MAX), u64::MAX - MOST);
    }
}
