//! Who may do what: tokens with roles, and secrets that pipelines refer to.

mod secrets;
mod tokens;

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use secrets::{Secret, SecretError, Secrets, SecretsKey, referred_secrets};
pub use tokens::{CreateError, Token, Tokens, TooShort};

/// What a token's bearer may do. A viewer, an operator, an editor and an admin may also do what those before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// Look.
    Viewer,
    /// Also pause, resume, restart, seek, skip, try, and see to dead letters.
    Operator,
    /// Also register, change and delete pipelines, and write secrets.
    Editor,
    /// Also tokens, the audit log, and what a worker may.
    Admin,
    /// Join as a worker that has no store of its own: report, and hear what to run, with the secrets that it takes. Nothing else.
    Worker,
}

impl Role {
    /// Whether it may do what takes `other`.
    pub fn includes(self, other: Role) -> bool {
        match (self, other) {
            (Role::Worker, other) => other == Role::Worker,
            (Role::Admin, _) => true,
            (Role::Editor, other) => matches!(other, Role::Viewer | Role::Operator | Role::Editor),
            (Role::Operator, other) => matches!(other, Role::Viewer | Role::Operator),
            (Role::Viewer, other) => other == Role::Viewer,
        }
    }

    /// The role's name.
    pub fn name(self) -> &'static str {
        match self {
            Role::Viewer => "viewer",
            Role::Operator => "operator",
            Role::Editor => "editor",
            Role::Admin => "admin",
            Role::Worker => "worker",
        }
    }
}

/// Who makes a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// A token's name, or `anonymous` where none is asked for.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Only to names that begin like this.
    pub prefix: String,
}

impl Caller {
    /// Whoever reaches a worker that asks for no tokens.
    pub fn anonymous() -> Caller {
        Caller {
            name: "anonymous".to_owned(),
            role: Role::Admin,
            prefix: String::new(),
        }
    }

    /// Whether it may do what takes this role, to something of this name.
    pub fn may(&self, role: Role, name: &str) -> bool {
        self.role.includes(role) && name.starts_with(&self.prefix)
    }

    /// Whether it may do what takes this role and concerns the fleet as a whole.
    pub fn may_all(&self, role: Role) -> bool {
        self.role.includes(role) && self.prefix.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_role_reaches_as_far_as_its_prefix_and_includes_those_below() {
        let team = Caller {
            name: "team".to_owned(),
            role: Role::Editor,
            prefix: "pay-".to_owned(),
        };
        assert!(team.may(Role::Viewer, "pay-in") && team.may(Role::Editor, "pay-in"));
        assert!(!team.may(Role::Admin, "pay-in"));
        assert!(!team.may(Role::Viewer, "orders"));
        assert!(!team.may_all(Role::Viewer));
        assert!(Caller::anonymous().may_all(Role::Admin));
    }

    #[test]
    fn a_worker_may_join_and_do_nothing_else() {
        let roles = [Role::Viewer, Role::Operator, Role::Editor, Role::Admin];
        assert!(Role::Worker.includes(Role::Worker) && Role::Admin.includes(Role::Worker));
        assert!(roles.iter().all(|role| !Role::Worker.includes(*role)));
        assert!(roles[..3].iter().all(|role| !role.includes(Role::Worker)));
    }
}
