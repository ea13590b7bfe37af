// Command bolt-check judges bbolt files: it runs bbolt's own consistency check on each, compares its size with that of
// the file that etcd's defrag makes of it, and then writes to a copy, key by key, so that the pages prove fit for bbolt's
// rebalancing and splitting too.
package main

import (
	"fmt"
	"os"

	bolt "go.etcd.io/bbolt"
)

func main() {
	failed := false
	for _, path := range os.Args[1:] {
		if err := judge(path); err != nil {
			fmt.Printf("%s: %v\n", path, err)
			failed = true
		}
	}
	if failed {
		os.Exit(1)
	}
}

func judge(path string) error {
	if err := check(path); err != nil {
		return err
	}
	if err := compareSize(path); err != nil {
		return err
	}
	copied := path + ".copy"
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := os.WriteFile(copied, data, 0o600); err != nil {
		return err
	}
	defer os.Remove(copied)
	if err := rewrite(copied); err != nil {
		return err
	}
	return check(copied)
}

func check(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	return db.View(func(tx *bolt.Tx) error {
		var first error
		for err := range tx.Check() {
			if first == nil {
				first = err
			}
		}
		return first
	})
}

// compareSize fails when the file is longer than one that is filled as by etcd's defrag, but for the ends of buckets.
func compareSize(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		return err
	}
	defer db.Close()
	defragged := path + ".defragged"
	defer os.Remove(defragged)
	other, err := bolt.Open(defragged, 0o600, &bolt.Options{NoFreelistSync: true, NoSync: true})
	if err != nil {
		return err
	}
	defer other.Close()
	tx, err := db.Begin(false)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if err := defrag(tx, other); err != nil {
		return err
	}
	return other.View(func(theirs *bolt.Tx) error {
		if allowed := theirs.Size() + theirs.Size()/100 + 16384; tx.Size() > allowed {
			return fmt.Errorf("%d bytes, %d by bbolt", tx.Size(), theirs.Size())
		}
		return nil
	})
}

// defrag copies all buckets in order, in transactions of so many keys as etcd's.
func defrag(from *bolt.Tx, to *bolt.DB) error {
	const keysATransaction = 10_000
	tx, err := to.Begin(true)
	if err != nil {
		return err
	}
	defer func() { tx.Rollback() }()
	n := 0
	err = from.ForEach(func(name []byte, b *bolt.Bucket) error {
		into, err := tx.CreateBucketIfNotExists(name)
		if err != nil {
			return err
		}
		into.FillPercent = 0.9
		return b.ForEach(func(k, v []byte) error {
			if n++; n%keysATransaction == 0 {
				if err := tx.Commit(); err != nil {
					return err
				}
				if tx, err = to.Begin(true); err != nil {
					return err
				}
				into = tx.Bucket(name)
				into.FillPercent = 0.9
			}
			return into.Put(k, v)
		})
	})
	if err != nil {
		return err
	}
	return tx.Commit()
}

// rewrite deletes two keys of three and adds as many, in several transactions.
func rewrite(path string) error {
	db, err := bolt.Open(path, 0o600, &bolt.Options{NoFreelistSync: true, NoSync: true})
	if err != nil {
		return err
	}
	defer db.Close()
	for round := 0; round < 3; round++ {
		err := db.Update(func(tx *bolt.Tx) error {
			return tx.ForEach(func(name []byte, b *bolt.Bucket) error { return thin(b, round) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

func thin(b *bolt.Bucket, round int) error {
	var gone [][]byte
	n := 0
	err := b.ForEach(func(k, v []byte) error {
		if n%3 != round {
			gone = append(gone, append([]byte(nil), k...))
		}
		n++
		return nil
	})
	if err != nil {
		return err
	}
	for _, key := range gone {
		if err := b.Delete(key); err != nil {
			return err
		}
	}
	for i := 0; i < len(gone); i++ {
		if err := b.Put([]byte(fmt.Sprintf("%d-%08d", round, i)), make([]byte, 100)); err != nil {
			return err
		}
	}
	return nil
}
