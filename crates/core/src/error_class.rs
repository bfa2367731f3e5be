//! Why a call to the API server failed, as one word for metrics and logs.

/// The class of a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ErrorClass {
    /// The object changed after the watch showed it. The next try sees the change, so this is a retry and not an error.
    Conflict,
    /// The operator lacks a right, or an admission policy refuses the write.
    Forbidden,
    /// A ResourceQuota refuses the write.
    Quota,
    /// The API server refuses the object or the request as invalid.
    Invalid,
    /// The object, its namespace or its kind does not exist.
    NotFound,
    /// No complete answer arrived in time; the write may have landed.
    Timeout,
    /// The API server limits the rate of requests.
    Throttled,
    /// The API server cannot be reached, or fails.
    Unavailable,
    /// The request body or the answer is not a Kubernetes object, because of a bug or a broken proxy.
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

    /// Whether it counts as an error. A conflict does not: a retry on the current state resolves it.
    pub const fn is_error(self) -> bool {
        !matches!(self, Self::Conflict)
    }

    /// Whether to log it as a warning. A conflict is resolved by the retry, and a process that no longer leads exits by
    /// itself.
    pub const fn is_worth_a_warning(self) -> bool {
        !matches!(self, Self::Conflict | Self::NotLeader)
    }
}
