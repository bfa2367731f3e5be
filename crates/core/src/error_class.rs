//! Why a call to the API server failed, as one word for metrics and logs.

/// The class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// The cluster changed since it was seen. The next try sees the change: this is a retry and no error.
    Conflict,
    /// The operator lacks a right, or an admission policy refuses the write.
    Forbidden,
    /// A ResourceQuota refuses the write.
    Quota,
    /// The API server refuses the object, or what it is asked for.
    Invalid,
    /// The object, its namespace or its kind is not there.
    NotFound,
    /// No complete answer came in time; the write may have happened.
    Timeout,
    /// The API server asks to be asked less often.
    Throttled,
    /// The API server cannot be reached, or fails.
    Unavailable,
    /// The answer, or what was to be sent, is no Kubernetes object: a bug, or a broken proxy.
    Malformed,
    /// Another replica leads, so nothing was sent.
    NotLeader,
}

impl ErrorClass {
    /// All classes.
    pub const ALL: [Self; 10] = [
        Self::Conflict,
        Self::Forbidden,
        Self::Quota,
        Self::Invalid,
        Self::NotFound,
        Self::Timeout,
        Self::Throttled,
        Self::Unavailable,
        Self::Malformed,
        Self::NotLeader,
    ];

    /// The label value.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Conflict => "conflict",
            Self::Forbidden => "forbidden",
            Self::Quota => "quota",
            Self::Invalid => "invalid",
            Self::NotFound => "not_found",
            Self::Timeout => "timeout",
            Self::Throttled => "throttled",
            Self::Unavailable => "unavailable",
            Self::Malformed => "malformed",
            Self::NotLeader => "not_leader",
        }
    }

    /// Whether it counts as an error. A conflict does not: another look at the cluster is all that is needed.
    pub const fn is_error(self) -> bool {
        !matches!(self, Self::Conflict)
    }

    /// Whether somebody should look at it: a conflict passes, and a process that no longer leads ends by itself.
    pub const fn is_worth_a_warning(self) -> bool {
        !matches!(self, Self::Conflict | Self::NotLeader)
    }
}
