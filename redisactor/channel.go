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
