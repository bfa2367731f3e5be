//! The state of the model world.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Quota {
    pub spec: Option<u8>,
    pub status: Option<u8>,
    pub used: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Write {
    pub value: u8,
    pub landed: bool,
    /// Sent by an earlier allocator, which crashed.
    pub orphan: bool,
}

const MOST_WRITES: usize = 2;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Namespace {
    pub now: Quota,
    pub seen: Quota,
    pub writes: [Option<Write>; MOST_WRITES],
    /// The size of a refused request that waits for its retry; 0 if there is none.
    pub asked: u8,
    pub leaving: bool,
}

impl Namespace {
    /// The most of `spec.hard`, `status.hard`, use and the values that open writes may still set.
    fn term(&self) -> u8 {
        let open = self
            .writes
            .iter()
            .flatten()
            .filter(|write| !write.landed)
            .map(|write| write.value);
        open.fold(self.hard().max(self.now.used), u8::max)
    }

    fn hard(&self) -> u8 {
        self.now.spec.unwrap_or(0).max(self.now.status.unwrap_or(0))
    }

    /// Sorted, so that states with the same writes are equal.
    pub fn with_writes(mut self, writes: impl IntoIterator<Item = Write>) -> Self {
        let mut slots: Vec<Write> = writes.into_iter().collect();
        slots.sort();
        self.writes = [None; MOST_WRITES];
        for (slot, write) in self.writes.iter_mut().zip(slots) {
            *slot = Some(write);
        }
        self
    }

    pub fn observed(mut self) -> Self {
        self.seen = self.now;
        let open: Vec<Write> = self
            .writes
            .into_iter()
            .flatten()
            .filter(|write| !write.landed)
            .collect();
        self.with_writes(open)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct State<const N: usize> {
    pub grant: u8,
    pub namespaces: [Namespace; N],
}

impl<const N: usize> State<N> {
    pub fn sum(&self) -> u8 {
        self.namespaces.iter().map(Namespace::term).sum()
    }

    pub fn hard(&self) -> u8 {
        self.namespaces.iter().map(Namespace::hard).sum()
    }

    pub fn used(&self) -> u8 {
        self.namespaces.iter().map(|namespace| namespace.now.used).sum()
    }

    pub fn with(mut self, i: usize, change: impl FnOnce(&mut Namespace)) -> Self {
        change(&mut self.namespaces[i]);
        self
    }
}
