//! Reasons for which calls end.

/// Why a call ended. The first reason stays.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EndReason {
    /// The call has lasted as long as it may.
    TimeLimit,
    /// The call has cost as much as it may.
    MoneyLimit,
    /// The model has answered as often as it may.
    TurnLimit,
    /// Nobody has spoken for too long.
    Idle,
    /// The page never joined.
    NotJoined,
    /// The owner of the call has hung up, or has left before the answer.
    HungUp,
    /// The sessions of the owner were ended.
    LoggedOut,
    /// The operator has hung up.
    Operator,
    /// The page has changed what the persona pins too often.
    PersonaViolation,
    /// The side channel was away for too long.
    Blind,
    /// The provider has ended the call, or never began it.
    Provider,
    /// The broker was shut down.
    Shutdown,
}

impl EndReason {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::TimeLimit,
        Self::MoneyLimit,
        Self::TurnLimit,
        Self::Idle,
        Self::NotJoined,
        Self::HungUp,
        Self::LoggedOut,
        Self::Operator,
        Self::PersonaViolation,
        Self::Blind,
        Self::Provider,
        Self::Shutdown,
    ];

    /// Reads the word.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == word)
    }

    /// Returns the word for it in events, records and reports.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::TimeLimit => "time_limit",
            Self::MoneyLimit => "money_limit",
            Self::TurnLimit => "turn_limit",
            Self::Idle => "idle",
            Self::NotJoined => "not_joined",
            Self::HungUp => "hung_up",
            Self::LoggedOut => "logged_out",
            Self::Operator => "operator",
            Self::PersonaViolation => "persona_violation",
            Self::Blind => "blind",
            Self::Provider => "provider",
            Self::Shutdown => "shutdown",
        }
    }
}
