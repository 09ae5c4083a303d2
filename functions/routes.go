package main

import (
	"context"

	"github.com/mailferry/mailferry/shared/invoke"
	"github.com/mailferry/mailferry/shared/migration"
	"github.com/mailferry/mailferry/shared/parker"
	"github.com/mailferry/mailferry/shared/pipeline"
	"github.com/mailferry/mailferry/shared/telemetry"
)

// routes names the stage behind every function, in pipeline order. Each function has a folder of its name.
func routes(p *pipeline.Pipeline, g *gate) *invoke.Mux {
	m := invoke.New(p.Log, p.Clock)
	m.Tick("startwaves", func(ctx context.Context, _ invoke.Tick) error {
		return p.Telemetry.Span(ctx, "tick", p.Starter.Tick)
	})
	m.Request("submitbatch", "POST batches", g.submit(submit{p}))

	m.Message("planmailbox", deliver(p, migration.PlanQueue))
	m.Message("copyshard", deliver(p, migration.CopyQueue))
	m.Message("verifymailbox", deliver(p, migration.VerifyQueue))

	m.Message("parkplan", park(p, migration.PlanQueue))
	m.Message("parkcopy", park(p, migration.CopyQueue))
	m.Message("parkverify", park(p, migration.VerifyQueue))

	m.Request("showwaves", "GET waves", g.reads(showWaves{p}))
	m.Request("showwave", "GET waves/{wave}", g.reads(showWave{p}))
	m.Request("steerwave", "POST waves/{wave}/{action}", g.steers(steer{p}))
	m.Request("steermailbox", "POST waves/{wave}/mailboxes/{mailbox}/{action}", g.steers(steer{p}))
	m.Request("showmailbox", "GET waves/{wave}/mailboxes/{mailbox}", g.reads(showMailbox{p}))
	m.Request("showreceipt", "GET waves/{wave}/mailboxes/{mailbox}/{part}", g.reads(showReceipt{p}))
	m.Request("about", "GET about", g.reads(about{}))
	return m
}

func deliver(p *pipeline.Pipeline, q migration.Queue) func(context.Context, invoke.Message) error {
	return func(ctx context.Context, m invoke.Message) error {
		return p.Deliver(telemetry.Arrived(ctx, m.Properties, m.Enqueued), q, m.Body)
	}
}

func park(p *pipeline.Pipeline, q migration.Queue) func(context.Context, invoke.Message) error {
	return func(ctx context.Context, m invoke.Message) error {
		return p.Park(telemetry.Arrived(ctx, m.Properties, m.Enqueued), parker.Letter{Queue: q, ID: m.ID, Body: m.Body, Deliveries: m.DeliveryCount,
			Reason: m.DeadLetterReason, Description: m.DeadLetterDescription})
	}
}
