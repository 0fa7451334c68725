//! Numbered places, used again when they are free. The numbers are those of the store's rows.

/// See the module.
#[derive(Debug)]
pub(crate) struct Slots<T> {
    places: Vec<Option<T>>,
    free: Vec<u32>,
}

impl<T> Default for Slots<T> {
    fn default() -> Self {
        Self { places: Vec::new(), free: Vec::new() }
    }
}

impl<T> Slots<T> {
    /// The number that the next [`Slots::insert`] takes.
    pub(crate) fn next_key(&self) -> u32 {
        self.free.last().copied().unwrap_or_else(|| u32::try_from(self.places.len()).expect("fewer than 2^32 places"))
    }

    pub(crate) fn insert(&mut self, value: T) -> u32 {
        let key = self.next_key();
        if self.free.pop().is_some() {
            self.places[key as usize] = Some(value);
        } else {
            self.places.push(Some(value));
        }
        key
    }

    /// For what the store has kept. [`Slots::restored`] must follow.
    pub(crate) fn restore(&mut self, key: u32, value: T) {
        let place = key as usize;
        if self.places.len() <= place {
            self.places.resize_with(place + 1, || None);
        }
        self.places[place] = Some(value);
    }

    /// Finds the places that stayed free.
    pub(crate) fn restored(&mut self) {
        let free = |(key, place): (usize, &Option<T>)| place.is_none().then(|| u32::try_from(key).ok()).flatten();
        self.free = self.places.iter().enumerate().filter_map(free).collect();
    }

    pub(crate) fn remove(&mut self, key: u32) -> Option<T> {
        let value = self.places.get_mut(key as usize)?.take()?;
        self.free.push(key);
        Some(value)
    }

    pub(crate) fn get(&self, key: u32) -> Option<&T> {
        self.places.get(key as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, key: u32) -> Option<&mut T> {
        self.places.get_mut(key as usize)?.as_mut()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        let places = self.places.iter().enumerate();
        places.filter_map(|(key, place)| Some((u32::try_from(key).ok()?, place.as_ref()?)))
    }

    pub(crate) fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }
}
