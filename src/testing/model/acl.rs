//! POSIX access control lists as POSIX 1003.1e (draft 17) and the Linux attribute format have them.

use crate::errno::Errno;

const USER_OBJ: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP_OBJ: u16 = 0x04;
const GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// One entry; `id` counts for named users and groups only.
#[derive(Clone, Copy, Debug)]
struct Entry {
    tag: u16,
    perm: u16,
    id: u32,
}

/// A list; never empty.
#[derive(Clone, Debug)]
pub(super) struct Acl(Vec<Entry>);

impl Acl {
    /// What the bytes of the attribute say; `None`: no list at all.
    pub(super) fn parse(value: &[u8]) -> Result<Option<Acl>, Errno> {
        if value.is_empty() {
            return Ok(None);
        }
        if value.len() < 4 {
            return Err(Errno::EINVAL);
        }
        let (version, body) = value.split_at(4);
        if version != [2, 0, 0, 0] {
            return Err(Errno::EOPNOTSUPP);
        }
        if body.len() % 8 != 0 {
            return Err(Errno::EINVAL);
        }
        let mut list = Vec::new();
        for b in body.chunks(8) {
            let entry = Entry {
                tag: u16::from_le_bytes([b[0], b[1]]),
                perm: u16::from_le_bytes([b[2], b[3]]),
                id: u32::from_le_bytes([b[4], b[5], b[6], b[7]]),
            };
            match entry.tag {
                USER_OBJ | GROUP_OBJ | MASK | OTHER => {}
                USER | GROUP if entry.id != u32::MAX => {}
                _ => return Err(Errno::EINVAL),
            }
            list.push(entry);
        }
        Ok((!list.is_empty()).then_some(Acl(list)))
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut out = vec![2, 0, 0, 0];
        for entry in &self.0 {
            let id = match entry.tag {
                USER | GROUP => entry.id,
                _ => u32::MAX,
            };
            out.extend_from_slice(&entry.tag.to_le_bytes());
            out.extend_from_slice(&entry.perm.to_le_bytes());
            out.extend_from_slice(&id.to_le_bytes());
        }
        out
    }

    /// A list that may be stored: tags in ascending order, owner, group and others exactly once, at
    /// most one mask, and a mask if anybody is named.
    pub(super) fn is_valid(&self) -> bool {
        let count = |tag: u16| self.0.iter().filter(|e| e.tag == tag).count();
        let named = count(USER) + count(GROUP) > 0;
        self.0.windows(2).all(|w| w[0].tag <= w[1].tag)
            && [USER_OBJ, GROUP_OBJ, OTHER].iter().all(|t| count(*t) == 1)
            && count(MASK) <= 1
            && (count(MASK) == 1 || !named)
            && self.0.iter().all(|e| e.perm <= 7)
    }

    fn perm(&self, tag: u16) -> Option<u32> {
        let found = self.0.iter().find(|e| e.tag == tag);
        found.map(|e| u32::from(e.perm))
    }

    fn set(&mut self, tag: u16, change: impl Fn(u32) -> u32) {
        for entry in self.0.iter_mut().filter(|e| e.tag == tag) {
            entry.perm = change(u32::from(entry.perm)) as u16 & 7;
        }
    }

    /// The group bits of a mode are those of the mask, if there is one.
    fn group_class(&self) -> u16 {
        match self.perm(MASK) {
            Some(_) => MASK,
            None => GROUP_OBJ,
        }
    }

    /// The nine bits that a mode shows of this list.
    pub(super) fn mode(&self) -> u32 {
        let perm = |tag| self.perm(tag).unwrap_or(0);
        perm(USER_OBJ) << 6 | perm(self.group_class()) << 3 | perm(OTHER)
    }

    /// The nine bits say all that the list says.
    pub(super) fn is_minimal(&self) -> bool {
        self.0.len() == 3
    }

    /// After `chmod(mode)`.
    pub(super) fn chmod(&mut self, mode: u32) {
        let group = self.group_class();
        self.set(USER_OBJ, |_| mode >> 6);
        self.set(group, |_| mode >> 3);
        self.set(OTHER, |_| mode);
    }

    /// What the list says to who is not the owner of the node, which is of the group `gid` (`acl(5)`,
    /// "Access check algorithm").
    pub(super) fn grants(
        &self,
        want: u32,
        uid: u32,
        gid: u32,
        in_group: impl Fn(u32) -> bool,
    ) -> bool {
        let has = |perm: u32| want & !perm == 0;
        let mask = self.perm(MASK).unwrap_or(7);
        let user = self.0.iter().find(|e| e.tag == USER && e.id == uid);
        if let Some(user) = user {
            return has(u32::from(user.perm) & mask);
        }
        let his = |e: &&Entry| match e.tag {
            GROUP_OBJ => in_group(gid),
            GROUP => in_group(e.id),
            _ => false,
        };
        let groups: Vec<u32> = self.0.iter().filter(his).map(|e| e.perm.into()).collect();
        match groups.is_empty() {
            true => has(self.perm(OTHER).unwrap_or(0)),
            false => has(mask) && groups.into_iter().any(has),
        }
    }

    /// As the access list of something made with `mode` in a directory whose default list this is:
    /// no class gets more than both allow.
    pub(super) fn inherit(&mut self, mode: u32) {
        let group = self.group_class();
        self.set(USER_OBJ, |perm| perm & mode >> 6);
        self.set(group, |perm| perm & mode >> 3);
        self.set(OTHER, |perm| perm & mode);
    }
}
