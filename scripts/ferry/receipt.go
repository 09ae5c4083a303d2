package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/receipt"
)

type receiptCmd struct {
	Fetch  fetchCmd  `cmd:"" help:"Fetch a mailbox's receipt and its leaves, and check them."`
	Verify verifyCmd `cmd:"" help:"Check a receipt and its leaves, offline."`
	Prove  proveCmd  `cmd:"" help:"Show that one item is in a receipt, offline."`
	Check  checkCmd  `cmd:"" help:"Check a proof that ferry receipt prove --json made, offline, without the leaves."`
	Key    keyCmd    `cmd:"" help:"Make a key pair to sign receipts with."`
}

// The ends of the names under which ferry keeps a receipt's two files.
const (
	receiptEnd = ".receipt.json"
	leavesEnd  = ".leaves.jsonl"
)

type fetchCmd struct {
	Wave    string `arg:"" help:"The wave's ID, as ferry submit prints it."`
	Mailbox string `arg:"" help:"The mailbox's ID, as ferry status lists it."`
	Dir     string `short:"o" default:"." placeholder:"DIR" help:"Where to write MAILBOX.receipt.json and MAILBOX.leaves.jsonl."`
}

func (c *fetchCmd) Run(ctx context.Context, a *app) error {
	path, err := wavePath(c.Wave, c.Mailbox)
	if err != nil {
		return err
	}
	from, err := a.client()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return badArgs("make folder: %w", err)
	}
	files := receiptFiles{File: filepath.Join(c.Dir, c.Mailbox+receiptEnd), Leaves: filepath.Join(c.Dir, c.Mailbox+leavesEnd)}
	if err := from.download(ctx, path+"/receipt", files.File); err != nil {
		return err
	}
	if err := from.download(ctx, path+"/leaves", files.Leaves); err != nil {
		return err
	}
	r, err := files.check()
	if err != nil {
		return fmt.Errorf("%w\nboth files were written; if the mailbox was verified again meanwhile, fetch again", err)
	}
	if a.JSON {
		return a.print(map[string]any{"receipt": files.File, "leaves": files.Leaves, "items": r.Items, "key": r.Signature.Key})
	}
	a.line("wrote %s\nwrote %s\n%s, signed with key %s\ncheck it anywhere: ferry receipt verify %s --trust PEM", files.File, files.Leaves,
		count(r.Items, "item"), r.Signature.Key, files.File)
	return nil
}

// download writes an answer to a file, which is there whole or not at all.
func (c client) download(ctx context.Context, path, name string) (err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := c.open(ctx, request{method: http.MethodGet, path: path})
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	part := name + ".part"
	f, err := os.Create(part)
	if err != nil {
		return badArgs("write file: %w", err)
	}
	_, err = io.Copy(f, resp.Body)
	if err != nil {
		err = &callError{cause: err, host: resp.Request.URL.Host}
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = os.Rename(part, name)
	}
	if err != nil {
		_ = os.Remove(part) // the error that matters is the first
	}
	return err
}

// receiptFiles are a receipt's two files and the keys that are trusted.
type receiptFiles struct {
	File   string   `arg:"" help:"The receipt, MAILBOX.receipt.json."`
	Leaves string   `placeholder:"FILE" help:"Its leaves; if not given, MAILBOX.leaves.jsonl beside it."`
	Trust  []string `placeholder:"PEM" env:"FERRY_TRUST" help:"Files with public keys that are trusted, from the key's owner."`
}

func (f *receiptFiles) leaves() (string, error) {
	if f.Leaves != "" {
		return f.Leaves, nil
	}
	name, ok := strings.CutSuffix(f.File, receiptEnd)
	if !ok {
		name = strings.TrimSuffix(f.File, filepath.Ext(f.File))
	}
	if _, err := os.Stat(name + leavesEnd); err != nil {
		return "", badArgs("where are the leaves? There is no %s; give --leaves FILE", name+leavesEnd)
	}
	return name + leavesEnd, nil
}

// trusted reads the keys. Without any, the receipt's own key is taken: that shows whether it was changed, not by whom it
// was made.
func (f *receiptFiles) trusted(file []byte) ([]ed25519.PublicKey, error) {
	var keys []ed25519.PublicKey
	for _, name := range f.Trust {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, badArgs("read trusted key: %w", err)
		}
		more, err := receipt.ParsePublic(b)
		if err != nil {
			return nil, badArgs("trusted key %s: %w", name, err)
		}
		keys = append(keys, more...)
	}
	if len(f.Trust) > 0 {
		return keys, nil
	}
	r, err := receipt.Decode(file)
	if err != nil {
		return nil, f.named(err)
	}
	if k, err := r.PublicKey(); err == nil {
		keys = append(keys, k)
	}
	return keys, nil
}

// named puts the file's name into a fault.
func (f *receiptFiles) named(err error) error {
	fault, ok := errors.AsType[*receipt.Fault](err)
	if !ok {
		return err
	}
	name := f.File
	if fault.File == receipt.InLeaves {
		name, _ = f.leaves()
	}
	text := name
	if where := fault.Where(); where != "" {
		text += ", " + where
	}
	if errors.Is(fault, receipt.ErrUnknownKey) {
		return &faultError{fault, fmt.Sprintf("%s: %s; if you trust its owner, add the key's PEM to --trust", text, fault.What)}
	}
	return &faultError{fault, text + ": " + fault.What}
}

// faultError is a fault with the name of the file it is in.
type faultError struct {
	fault *receipt.Fault
	text  string
}

func (e *faultError) Error() string { return clean(e.text) }

func (e *faultError) Unwrap() error { return e.fault }

// check reads both files and checks them.
func (f *receiptFiles) check() (receipt.Receipt, error) {
	file, err := os.ReadFile(f.File)
	if err != nil {
		return receipt.Receipt{}, badArgs("read receipt: %w", err)
	}
	name, err := f.leaves()
	if err != nil {
		return receipt.Receipt{}, err
	}
	leaves, err := os.Open(name)
	if err != nil {
		return receipt.Receipt{}, badArgs("read leaves: %w", err)
	}
	defer leaves.Close()
	keys, err := f.trusted(file)
	if err != nil {
		return receipt.Receipt{}, err
	}
	r, err := receipt.Verify(file, leaves, keys)
	return r, f.named(err)
}

type verifyCmd struct{ receiptFiles }

// Help is the long text of ferry receipt verify --help.
func (verifyCmd) Help() string {
	return `Checks that the receipt is signed, that nothing in it was changed, and that every line of the leaves is what was
signed; if not, it names the file and the line. With --trust it also checks who signed. Exit code 1 if anything is wrong.
It needs no network and no Mailferry app.`
}

func (c *verifyCmd) Run(ctx context.Context, a *app) error {
	r, err := c.check()
	fault, bad := errors.AsType[*faultError](err)
	if bad && a.JSON {
		return errors.Join(a.print(map[string]any{"good": false, "in": fault.fault.File, "line": fault.fault.Line, "last": fault.fault.Last,
			"what": fault.fault.What}), said())
	}
	if err != nil {
		return err
	}
	if a.JSON {
		return a.print(map[string]any{"good": true, "trusted": len(c.Trust) > 0, "key": r.Signature.Key, "wave": r.Wave, "mailbox": r.Mailbox,
			"verified": r.Verified, "counts": r.Counts, "items": r.Items, "bytes": r.Bytes, "skipped": len(r.Skipped), "root": r.Tree.Root})
	}
	return a.showReceipt(r, len(c.Trust) > 0)
}

func (a *app) showReceipt(r receipt.Receipt, trusted bool) error {
	rows := [][]string{
		{"mailbox", fmt.Sprintf("%s of wave %s", r.Mailbox, r.Wave)},
		{"moved", fmt.Sprintf("%s to %s", r.Source, r.Target)},
		{"verified", fmt.Sprintf("%s, pass %d (%s), depth %s, by Mailferry %s", when(r.Verified), r.Pass, r.Kind, r.Verify, r.Mailferry)},
		{"counts", words(r.Counts)},
		{"leaves", fmt.Sprintf("good: %s, %s in %s", count(r.Items, "item"), size(r.Bytes), count(len(r.Folders), "folder"))},
		{"root", r.Tree.Root.String()}, {"signature", "good: " + r.Signature.Algorithm}, {"key", r.Signature.Key}, {"signer", signer(trusted)},
	}
	if err := table(a.out, rows); err != nil || len(r.Skipped) == 0 {
		return err
	}
	a.line("\n%s skipped:", count(len(r.Skipped), "item"))
	rows = [][]string{{"FOLDER", "CLASS", "RECEIVED", "SIZE", "REASON", "KEY"}}
	for _, s := range r.Skipped {
		rows = append(rows, []string{strings.Join(s.Folder, " / "), s.Class, when(s.Received), size(s.Size), string(s.Reason), s.Key.String()})
	}
	return table(a.out, rows)
}

type proveCmd struct {
	receiptFiles
	Item   string `arg:"" help:"The item's key, as it stands in the leaves."`
	Folder string `placeholder:"PATH" help:"The folder it is in, like \"Inbox / Orders\", when several folders have the key."`
}

// Help is the long text of ferry receipt prove --help.
func (proveCmd) Help() string {
	return `Find the item's key in the leaves file: each line has an item's folder, class, date and size. The proof is the item and
the hashes beside its way up to the root, which the receipt has. Given to somebody as JSON, together with the receipt, it
shows that the item was verified on the target, without showing any other item.`
}

func (c *proveCmd) Run(ctx context.Context, a *app) error {
	item, err := mailbox.ParseKey(c.Item)
	if err != nil {
		return badArgs("ITEM: %w", err)
	}
	r, err := c.check()
	if err != nil {
		return err
	}
	p, err := c.prove(r, item)
	if err != nil {
		return err
	}
	if a.JSON {
		return a.print(p)
	}
	return a.showProof(r, p, len(c.Trust) > 0)
}

func (c *proveCmd) prove(r receipt.Receipt, item mailbox.Key) (receipt.Proof, error) {
	name, err := c.leaves()
	if err != nil {
		return receipt.Proof{}, err
	}
	leaves, err := os.Open(name)
	if err != nil {
		return receipt.Proof{}, badArgs("read leaves: %w", err)
	}
	defer leaves.Close()
	var folder []string
	if c.Folder != "" {
		folder = strings.Split(c.Folder, " / ")
	}
	p, err := receipt.Prove(r, leaves, item, folder)
	switch {
	case errors.Is(err, receipt.ErrNoItem):
		return p, fmt.Errorf("%w: no line of %s has key %s", err, name, item)
	case errors.Is(err, receipt.ErrMany):
		return p, badArgs("%s; give one of them as --folder", clean(err.Error()))
	}
	return p, c.named(err)
}

// showProof checks a proof and shows its steps.
func (a *app) showProof(r receipt.Receipt, p receipt.Proof, trusted bool) error {
	steps, err := receipt.CheckProof(r, p)
	if err != nil {
		return err
	}
	l := p.Leaf
	if a.JSON {
		return a.print(map[string]any{"good": true, "trusted": trusted, "key": r.Signature.Key, "mailbox": r.Mailbox, "leaf": l})
	}
	rows := [][]string{
		{"item", l.Key.String()}, {"folder", strings.Join(l.Folder, " / ")}, {"class", l.Class}, {"received", when(l.Received)},
		{"size", size(l.Bytes)}, {"digest", l.Digest + " (" + string(l.Depth) + ")"}, {"line", fmt.Sprintf("%d of %d", p.Index+1, p.Size)},
	}
	for i, s := range steps {
		side := "right"
		if s.Left {
			side = "left"
		}
		rows = append(rows, []string{fmt.Sprintf("step %d", i+1), fmt.Sprintf("with %s on the %s: %s", s.Other, side, s.Node)})
	}
	return table(a.out, append(rows, []string{"root", r.Tree.Root.String() + ", as the receipt says"},
		[]string{"proved", "the item is in the receipt of mailbox " + string(r.Mailbox)},
		[]string{"key", r.Signature.Key}, []string{"signer", signer(trusted)}))
}

func signer(trusted bool) string {
	if trusted {
		return "trusted"
	}
	return "NOT CHECKED: compare the key with its owner's, or give --trust PEM"
}

type checkCmd struct {
	File  string   `arg:"" help:"The receipt, MAILBOX.receipt.json."`
	Proof string   `arg:"" help:"The proof, as ferry receipt prove --json printed it."`
	Trust []string `placeholder:"PEM" env:"FERRY_TRUST" help:"Files with public keys that are trusted, from the key's owner."`
}

func (c *checkCmd) Run(ctx context.Context, a *app) error {
	f := receiptFiles{File: c.File, Trust: c.Trust}
	file, err := os.ReadFile(c.File)
	if err != nil {
		return badArgs("read receipt: %w", err)
	}
	b, err := os.ReadFile(c.Proof)
	if err != nil {
		return badArgs("read proof: %w", err)
	}
	keys, err := f.trusted(file)
	if err != nil {
		return err
	}
	r, err := receipt.Open(file, keys)
	if err != nil {
		return f.named(err)
	}
	p, err := receipt.DecodeProof(b)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Proof, err)
	}
	return a.showProof(r, p, len(c.Trust) > 0)
}

type keyCmd struct {
	File string `short:"o" default:"receipt-key.pem" placeholder:"FILE" help:"Where to write the private key. It must not be there yet."`
}

// Help is the long text of ferry receipt key --help.
func (keyCmd) Help() string {
	return `Writes the private key to a file that only you can read, and prints the public key. Give the private key to the app as its
setting RECEIPT_KEY, from Key Vault, and then delete the file. Give the public key to whoever is to check receipts.`
}

func (c *keyCmd) Run(ctx context.Context, a *app) error {
	k, err := receipt.NewKey()
	if err != nil {
		return err
	}
	f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return badArgs("%s is there already, and a key is never overwritten; give another name with -o", c.File)
	}
	if err != nil {
		return badArgs("write private key: %w", err)
	}
	_, err = f.Write(k.RevealPEM())
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write private key: %w", err)
	}
	public, fingerprint := receipt.PublicPEM(k.Public()), receipt.Fingerprint(k.Public())
	if a.JSON {
		return a.print(map[string]any{"private": c.File, "public": string(public), "key": fingerprint})
	}
	fmt.Fprintf(a.err, "private key: %s\nkey: %s\n", c.File, fingerprint)
	_, err = a.out.Write(public)
	return err
}
