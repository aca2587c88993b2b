//! Where functions and HTTP sinks may be.

use std::fmt;
use std::net::IpAddr;

use ipnet::IpNet;

/// Which addresses may be connected to. Names are resolved first, so that a name does not lead around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Where not empty, only these networks.
    pub allow: Vec<IpNet>,
    /// Never these networks, even where `allow` holds them.
    pub deny: Vec<IpNet>,
}

impl Default for AddressPolicy {
    /// Anywhere but the link-local networks and addresses at which clouds answer with a machine's credentials.
    fn default() -> AddressPolicy {
        let metadata = ["169.254.0.0/16", "100.100.100.200/32", "fe80::/10", "fd00:ec2::254/128"];
        AddressPolicy {
            allow: Vec::new(),
            deny: metadata.iter().filter_map(|net| net.parse().ok()).collect(),
        }
    }
}

impl AddressPolicy {
    /// Whether `address` may be connected to. An IPv4 address in IPv6 clothes counts as the IPv4 address it is.
    ///
    /// # Errors
    /// The rule that stands against it.
    pub fn permit(&self, address: IpAddr) -> Result<(), Denied> {
        let address = address.to_canonical();
        if let Some(net) = self.deny.iter().find(|net| net.contains(&address)) {
            return Err(Denied(format!(
                "address {address} is in {net}, which functions.deny lists"
            )));
        }
        if self.allow.is_empty() || self.allow.iter().any(|net| net.contains(&address)) {
            return Ok(());
        }
        Err(Denied(format!("address {address} is in no network of functions.allow")))
    }
}

/// An address that may not be connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Denied(pub(super) String);

impl fmt::Display for Denied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Denied {}

#[cfg(test)]
mod tests {
    use super::*;

    fn permits(policy: &AddressPolicy, address: &str) -> bool {
        policy.permit(address.parse().unwrap()).is_ok()
    }

    #[test]
    fn by_default_only_link_local_and_metadata_addresses_are_denied() {
        let policy = AddressPolicy::default();
        assert_eq!(policy.deny.len(), 4);
        for denied in [
            "169.254.169.254",
            "100.100.100.200",
            "fe80::1",
            "fd00:ec2::254",
            "::ffff:169.254.169.254",
        ] {
            assert!(!permits(&policy, denied), "{denied}");
        }
        for permitted in [
            "127.0.0.1",
            "::1",
            "10.0.0.1",
            "100.100.100.201",
            "8.8.8.8",
            "fd00:ec2::253",
        ] {
            assert!(permits(&policy, permitted), "{permitted}");
        }
    }

    #[test]
    fn a_list_of_allowed_networks_shuts_out_all_others() {
        let policy = AddressPolicy {
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            deny: vec![],
        };
        assert!(permits(&policy, "10.1.2.3"));
        assert!(permits(&policy, "::ffff:10.1.2.3"));
        let denied = policy.permit("192.168.0.1".parse().unwrap()).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "address 192.168.0.1 is in no network of functions.allow"
        );
    }

    #[test]
    fn a_denied_network_stays_denied_where_it_is_also_allowed() {
        let policy = AddressPolicy {
            allow: vec!["10.0.0.0/8".parse().unwrap()],
            deny: vec!["10.9.0.0/16".parse().unwrap()],
        };
        let denied = policy.permit("10.9.0.1".parse().unwrap()).unwrap_err();
        assert_eq!(
            denied.to_string(),
            "address 10.9.0.1 is in 10.9.0.0/16, which functions.deny lists"
        );
    }
}
