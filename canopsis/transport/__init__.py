"""RabbitMQ by kombu: connections, topology, batches, a confirming publisher, a batch consumer."""
