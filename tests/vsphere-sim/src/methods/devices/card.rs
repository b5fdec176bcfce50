//! Network cards of a draft: kept as they are told, with a key and an address of their own.

use crate::wire::{Fault, Object, Outcome, object, schema};

use super::{Draft, bad_spec, key};

/// Where vSphere's keys of cards begin.
const FIRST_KEY: i32 = 4000;

/// The PCI controller that they sit on.
const PCI: i32 = 100;

pub fn is_card(device: &Object) -> bool {
    schema().data_is_a(&device.kind, "VirtualEthernetCard")
}

impl Draft<'_> {
    pub(super) fn change_card(
        &mut self,
        pass: &str,
        index: usize,
        operation: Option<&str>,
        device: &Object,
    ) -> Outcome<()> {
        if operation != Some(pass) {
            return Ok(());
        }
        if pass == "add" {
            return self.add_card(index, device);
        }
        let found = self.cards.iter().position(|card| key(card) == key(device));
        let position =
            found.ok_or_else(|| bad_spec(index, "the machine has no device of that key"))?;
        if pass == "remove" {
            self.cards.remove(position);
        } else if let Some(backing) = device.object("backing") {
            let backing = self.backing(index, backing)?;
            self.cards[position].put("backing", backing);
        }
        Ok(())
    }

    fn add_card(&mut self, index: usize, device: &Object) -> Outcome<()> {
        let free = (FIRST_KEY..).find(|free| self.cards.iter().all(|card| key(card) != *free));
        let own = free.unwrap_or(FIRST_KEY);
        let label = format!("Network adapter {}", own - FIRST_KEY + 1);
        let mut card = device.clone();
        if let Some(backing) = device.object("backing") {
            card.put("backing", self.backing(index, backing)?);
        }
        let about = object("Description")
            .with("label", &label)
            .with("summary", "VM Network");
        card.put("key", own);
        card.put("deviceInfo", about);
        card.put("controllerKey", PCI);
        card.put("unitNumber", own - FIRST_KEY + 7);
        if card.text("macAddress").is_none_or(str::is_empty) {
            let digits = crate::world::ids::ticket();
            let mac = format!(
                "00:50:56:{}:{}:{}",
                &digits[..2],
                &digits[2..4],
                &digits[4..6]
            );
            card.put("macAddress", mac);
            card.put("addressType", "assigned");
        }
        self.cards.push(card);
        Ok(())
    }

    /// A backing that names a network, with the network that it names.
    fn backing(&self, index: usize, backing: &Object) -> Outcome<Object> {
        let refused = |why: &str| {
            Fault::new(
                "InvalidDeviceBacking",
                format!("Invalid backing for device '{index}': {why}."),
            )
            .with("property", format!("spec.deviceChange[{index}]"))
            .with("deviceIndex", index as i64)
        };
        if backing.kind != "VirtualEthernetCardNetworkBackingInfo" {
            return Err(refused("it is no network of a host"));
        }
        let name = backing.text("deviceName").unwrap_or_default();
        let mut networks = self.world.networks_near(&self.machine).into_iter();
        let found =
            networks.find(|network| self.world.node(network).is_ok_and(|node| node.name == name));
        let network = found.ok_or_else(|| refused("there is no such network"))?;
        let mut backing = backing.clone();
        backing.put("network", &network);
        Ok(backing)
    }
}
