// Command bolt-check judges bbolt files: it runs bbolt's own consistency check on each and then writes to a copy, key by
// key, so that the pages prove fit for bbolt's rebalancing and splitting too.
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
