// Command packager writes the zip that is deployed to Azure and the CycloneDX list of the modules in it.
package main

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/alecthomas/kong"
)

// options are the command line.
type options struct {
	Out  string `default:"build" placeholder:"DIR" help:"Where mailferry.zip and mailferry.cdx.json go."`
	Root string `default:"." hidden:"" help:"The repository."`

	Vulnerabilities bool   `help:"Also ask govulncheck which known vulnerabilities the handler calls; about a minute, over the network. Exit code 3: the package is written, and some were found."`
	Scanner         string `hidden:"" help:"Instead of govulncheck."`
}

func main() {
	var o options
	kong.Parse(&o, kong.Name("package"), kong.Description(
		"Builds the handler for linux/amd64 and writes mailferry.zip, as Azure Functions wants it: host.json, the handler with its run bit "+
			"and one folder per function at the root. Beside it mailferry.cdx.json lists the Go modules in the handler (CycloneDX 1.6)."))
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "package:", err)
		if errors.Is(err, errVulnerable) {
			os.Exit(3)
		}
		os.Exit(1)
	}
}

func run(ctx context.Context, o options, out io.Writer) error {
	work, err := os.MkdirTemp("", "mailferry-package-")
	if err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	defer os.RemoveAll(work)
	handler := filepath.Join(work, "handler")
	if err := build(ctx, o.Root, handler); err != nil {
		return err
	}
	files, err := collect(o.Root, handler)
	if err != nil {
		return err
	}
	zipped, err := pack(files)
	if err != nil {
		return err
	}
	list, err := sbom(o.Root, handler)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(o.Out, 0o755); err != nil {
		return fmt.Errorf("make folder: %w", err)
	}
	for name, content := range map[string][]byte{"mailferry.zip": zipped, "mailferry.cdx.json": list} {
		if err := os.WriteFile(filepath.Join(o.Out, name), content, 0o644); err != nil {
			return fmt.Errorf("write package: %w", err)
		}
	}
	_, err = fmt.Fprintf(out, "%s: %d files, %.1f MB, sha256 %x\n", filepath.Join(o.Out, "mailferry.zip"), len(files),
		float64(len(zipped))/1e6, sha256.Sum256(zipped))
	if err == nil && o.Vulnerabilities {
		err = vulnerabilities(ctx, o, work, out)
	}
	return err
}
