//! `round-robin`: in turn, by weight, spread evenly over time (the smooth weighted round robin of
//! NGINX: a server of weight 5 beside two of weight 1 gives `a a b a c a a`, not `a a a a a b c`).

use super::Servers;

/// The state of one rotation.
#[derive(Debug, Default, Clone)]
pub struct RoundRobin {
    credit: Vec<i64>,
}

impl RoundRobin {
    /// The next usable server, or `None` when there is none. A list of another length begins a new
    /// rotation.
    pub fn choose(&mut self, servers: &impl Servers) -> Option<usize> {
        if self.credit.len() != servers.len() {
            self.credit.clear();
            self.credit.resize(servers.len(), 0);
        }
        let mut total = 0;
        let mut chosen: Option<usize> = None;
        for server in (0..servers.len()).filter(|&server| servers.is_usable(server)) {
            let weight = i64::from(servers.weight(server));
            total += weight;
            self.credit[server] += weight;
            if chosen.is_none_or(|chosen| self.credit[server] > self.credit[chosen]) {
                chosen = Some(server);
            }
        }
        self.credit[chosen?] -= total;
        chosen
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulated::Simulated;
    use super::*;

    fn turns(servers: &Simulated, count: usize) -> String {
        let mut rotation = RoundRobin::default();
        let name = |server: usize| (b'a' + server as u8) as char;
        (0..count).map(|_| rotation.choose(servers).map_or('-', name)).collect()
    }

    #[test]
    fn servers_take_turns_by_weight_and_smoothly() {
        assert_eq!(turns(&Simulated::new(&[1, 1, 1]), 6), "abcabc");
        assert_eq!(turns(&Simulated::new(&[5, 1, 1]), 7), "aabacaa");
        assert_eq!(turns(&Simulated::new(&[]), 2), "--");
    }

    #[test]
    fn an_unusable_server_is_passed_over_and_takes_no_revenge() {
        let mut servers = Simulated::new(&[1, 1, 1]);
        let mut rotation = RoundRobin::default();
        servers.usable[1] = false;
        let without: Vec<_> = (0..100).filter_map(|_| rotation.choose(&servers)).collect();
        assert_eq!(without.iter().filter(|&&server| server == 1).count(), 0);
        servers.usable[1] = true;
        let first: Vec<_> = (0..6).filter_map(|_| rotation.choose(&servers)).collect();
        assert_eq!(first.iter().filter(|&&server| server == 1).count(), 2, "{first:?}");
    }
}
