"""The modalities beside picture and words: what is known of a record (metadata), and the regions on its picture."""
