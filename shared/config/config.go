// Package config reads the settings, once, into one struct. Each field says what it is for; infra sets the same names.
package config

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"time"

	"github.com/sethvargo/go-envconfig"
)

// Secret is a setting that is never shown: however it is printed, logged or encoded, it reads ***.
type Secret string

// String implements fmt.Stringer.
func (s Secret) String() string { return "***" }

// GoString implements fmt.GoStringer.
func (s Secret) GoString() string { return "***" }

// LogValue implements slog.LogValuer.
func (s Secret) LogValue() slog.Value { return slog.StringValue("***") }

// MarshalText implements encoding.TextMarshaler.
func (s Secret) MarshalText() ([]byte, error) { return []byte("***"), nil }

// Reveal returns the secret itself.
func (s Secret) Reveal() string { return string(s) }

// Config is all settings.
type Config struct {
	Port string `env:"FUNCTIONS_CUSTOMHANDLER_PORT, required"` // set by the Functions host

	ServiceBus ServiceBus
	Storage    Storage
	ClientID   string `env:"AZURE_CLIENT_ID"` // of the user-assigned managed identity

	EWS   EWS   `env:", prefix=EWS_"`
	Graph Graph `env:", prefix=GRAPH_"`

	Verify     string        `env:"VERIFY, default=sample"`        // index, sample or full: how much of an item is compared
	Budget     time.Duration `env:"COPY_BUDGET, default=25m"`      // how long one delivery copies or compares; below host.json's functionTimeout
	Doubt      time.Duration `env:"COPY_DOUBT, default=5m"`        // how long an import without an answer may still be carried out
	Memory     int64         `env:"COPY_MEMORY, default=67108864"` // bytes of items in memory at once, per process
	ReceiptKey Secret        `env:"RECEIPT_KEY"`                   // signs receipts: PKCS#8 PEM or base64 seed; without it there are no receipts
	Log        slog.Level    `env:"LOG_LEVEL, default=INFO"`
	OTLP       string        `env:"OTEL_EXPORTER_OTLP_ENDPOINT"` // http(s)://HOST[:PORT][/PATH] that takes spans and metrics by OTLP; without it none are made
	HTTPAuth   string        `env:"HTTP_AUTH, default=key"`      // key: the host checks function keys; entra: app roles too, only with App Service authentication on
}

// ServiceBus is the namespace with the queues: the settings that the triggers use too.
type ServiceBus struct {
	Namespace        string `env:"ServiceBusConnection__fullyQualifiedNamespace"` // NAME.servicebus.windows.net, with the managed identity
	ConnectionString Secret `env:"ServiceBusConnection"`                          // instead, in local runs
}

// Storage is the account with the ledger, manifests, staging and reports.
type Storage struct {
	BlobURL          string `env:"StorageConnection__blobServiceUri"`  // https://NAME.blob.core.windows.net, with the managed identity
	TableURL         string `env:"StorageConnection__tableServiceUri"` // https://NAME.table.core.windows.net
	ConnectionString Secret `env:"StorageConnection"`                  // instead, in local runs
}

// EWS is the on-premises Exchange that mailboxes come from.
type EWS struct {
	URL         string   `env:"URL, required"`          // https://HOST/EWS/Exchange.asmx
	Auth        string   `env:"AUTH, default=ntlm"`     // ntlm or basic
	User        string   `env:"USER"`                   // service account with ApplicationImpersonation, DOMAIN\name or a UPN
	Password    Secret   `env:"PASSWORD"`               //
	Accounts    Accounts `env:"ACCOUNTS"`               // instead of one: [{"user":"…","password":"…"}, …]; each has its own throttling budget
	Concurrency int      `env:"CONCURRENCY, default=0"` // requests at once per account and process; 0: the published 27
}

// Graph is the tenant that mailboxes go to.
type Graph struct {
	URL string `env:"URL, default=https://graph.microsoft.com/v1.0"`
}

// Account is one service account.
type Account struct {
	User     string `json:"user"`
	Password Secret `json:"password"`
}

// Accounts is a list of service accounts, as JSON.
type Accounts []Account

// EnvDecode implements envconfig.Decoder.
func (a *Accounts) EnvDecode(_ context.Context, value string) error {
	if value == "" {
		return nil
	}
	if err := json.Unmarshal([]byte(value), a); err != nil {
		return errors.New(`want JSON like [{"user":"CORP\\svc","password":"…"}]`) // the decoder's own error would quote it
	}
	return nil
}

// Lookup finds a setting by name.
type Lookup func(name string) (string, bool)

// Lookup implements envconfig.Lookuper.
func (l Lookup) Lookup(name string) (string, bool) { return l(name) }

// Environment finds settings in the process's environment, where the Functions host puts app settings.
func Environment(name string) (string, bool) { return os.LookupEnv(name) }

// Read reads the settings. An error names the setting and says what to do.
func Read(ctx context.Context, l Lookup) (Config, error) {
	var c Config
	last := "" // envconfig's errors name the field; what it looked up last is the setting
	asked := Lookup(func(name string) (string, bool) { last = name; return l(name) })
	if err := envconfig.ProcessWith(ctx, &envconfig.Config{Target: &c, Lookuper: asked}); err != nil {
		return c, fmt.Errorf("setting %s: %w", last, err)
	}
	return c, c.check()
}

func (c *Config) check() error {
	bad := func(setting, what string) error { return fmt.Errorf("setting %s: %s", setting, what) }
	if c.EWS.User != "" {
		c.EWS.Accounts = append(Accounts{{c.EWS.User, c.EWS.Password}}, c.EWS.Accounts...)
	}
	switch {
	case c.ServiceBus.ConnectionString == "" && c.ServiceBus.Namespace == "":
		return bad("ServiceBusConnection__fullyQualifiedNamespace", "is missing")
	case c.Storage.ConnectionString == "" && (c.Storage.BlobURL == "" || c.Storage.TableURL == ""):
		return bad("StorageConnection__blobServiceUri and __tableServiceUri", "are missing")
	case len(c.EWS.Accounts) == 0:
		return bad("EWS_USER", "is missing; give EWS_USER and EWS_PASSWORD, or EWS_ACCOUNTS")
	case c.EWS.Auth != "ntlm" && c.EWS.Auth != "basic":
		return bad("EWS_AUTH", "want ntlm or basic")
	case c.Verify != "index" && c.Verify != "sample" && c.Verify != "full":
		return bad("VERIFY", "want index, sample or full")
	case c.HTTPAuth != "key" && c.HTTPAuth != "entra":
		return bad("HTTP_AUTH", "want key or entra")
	case c.OTLP != "" && !httpURL(c.OTLP):
		return bad("OTEL_EXPORTER_OTLP_ENDPOINT", "want http://HOST:PORT or https://HOST, without user, password and query")
	case c.Budget < time.Minute:
		return bad("COPY_BUDGET", "want at least 1m")
	case c.Doubt <= 0:
		return bad("COPY_DOUBT", "want a time above 0")
	}
	for i, a := range c.EWS.Accounts {
		if a.User == "" || a.Password == "" {
			return bad("EWS_ACCOUNTS", fmt.Sprintf("account %d has no user or no password", i+1))
		}
	}
	return nil
}

func httpURL(s string) bool {
	u, err := url.Parse(s)
	return err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == ""
}
