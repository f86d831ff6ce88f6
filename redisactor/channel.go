package redisactor

import (
	"strings"

	"github.com/wskit/wskit/actors"
)

const (
	// controlSuffix and userPrefix are what follows a hub's channel in that of what hubs tell each other, and of a user's own topic.
	controlSuffix = "::control"
	userPrefix    = "::user:"
)

// topicChannel is the channel of a topic of the hub whose own channel is hub. A name that begins with a colon gets one more in
// front: no topic has the control channel, nor a user's.
func topicChannel(hub, topic string) string {
	if topic == "" {
		return hub
	}
	if id, ok := actors.TopicUser(topic); ok {
		return hub + userPrefix + id
	}
	if strings.HasPrefix(topic, ":") {
		return hub + "::" + topic
	}
	return hub + ":" + topic
}

// inTenants is how a name stands in a TenantChannel: without the colon, which would make it a topic of another's, and without braces, which
// would have it end the hash tag that the keys of its history share.
var inTenants = strings.NewReplacer("%", "%25", ":", "%3A", "{", "%7B", "}", "%7D")

// TenantChannel is the channel of one of many hubs that have names and share a prefix: that and the name. No two have the same, and
// nothing of one, neither a topic, a user, a key nor the control channel, is another's.
func TenantChannel(prefix, name string) string { return prefix + inTenants.Replace(name) }
