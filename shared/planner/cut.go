package planner

import (
	"github.com/mailferry/mailferry/shared/mailbox"
	"github.com/mailferry/mailferry/shared/manifest"
)

// A shard is what one mailbox may upload in one window. Graph allows an app 150 MB and 10,000 requests per mailbox in
// 5 and 10 minutes (Graph throttling limits, Outlook service). 140 MB leaves room for what a listing says too little;
// 4,000 items, one request each, twice in ten minutes, leave 2,000 requests for listings.
const (
	shardBytes = 140_000_000
	shardItems = 4_000
)

// cut lays the items out in shards, in order. A run of items with one identity stays together while a shard has room,
// because resolving a lost answer counts them.
func cut(todo []folderItems) []manifest.Manifest {
	var shards []manifest.Manifest
	var now *manifest.Manifest
	var wire int64
	for _, f := range todo {
		folder := -1
		for _, it := range f.items {
			weight := mailbox.WireSize(it.Size)
			if it.Skip != "" {
				weight = 0
			}
			if now == nil || len(now.Items) > 0 && (wire+weight > shardBytes || len(now.Items) == shardItems) {
				shards = append(shards, manifest.Manifest{})
				now, wire, folder = &shards[len(shards)-1], 0, -1
			}
			if folder < 0 {
				folder = len(now.Folders)
				now.Folders = append(now.Folders, f.Folder)
			}
			it.Folder = folder
			now.Items = append(now.Items, it)
			now.Bytes += it.Size
			wire += weight
		}
	}
	return shards
}
