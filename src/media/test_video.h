// Small videos for tests, made by FFmpeg's own encoders.
#pragma once

#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "media/image.h"

extern "C" {
#include <libavcodec/avcodec.h>
#include <libavformat/avformat.h>
#include <libavutil/display.h>
#include <libavutil/imgutils.h>
#include <libswscale/swscale.h>
}

namespace vlm {

struct TestVideo {
  const char* codec = "mpeg4";
  AVPixelFormat format = AV_PIX_FMT_YUV420P;
  int between_keys = 6;
  int two_sided_frames = 0;  // at most so many in a row
  int frames_per_second = 10;
  double rotation = 0;  // degrees clockwise that a player is to turn the frames
};

inline void expect_ok(int code, const char* what) {
  if (code < 0) throw std::runtime_error(what);
}

// Writes `frames`, all of one size; the container follows from the file's ending.
inline void write_test_video(const std::filesystem::path& path, const std::vector<Image>& frames,
                             const TestVideo& options = {}) {
  av_log_set_level(AV_LOG_QUIET);
  AVFormatContext* format = nullptr;
  expect_ok(avformat_alloc_output_context2(&format, nullptr, nullptr, path.c_str()), "container");
  const AVCodec* encoder = avcodec_find_encoder_by_name(options.codec);
  if (!encoder) throw std::runtime_error("encoder");
  AVCodecContext* codec = avcodec_alloc_context3(encoder);
  codec->width = static_cast<int>(frames.front().width),
  codec->height = static_cast<int>(frames.front().height);
  codec->time_base = {1, options.frames_per_second}, codec->framerate = {options.frames_per_second, 1};
  codec->pix_fmt = options.format, codec->gop_size = options.between_keys;
  codec->max_b_frames = options.two_sided_frames, codec->bit_rate = 2'000'000;
  if (format->oformat->flags & AVFMT_GLOBALHEADER) codec->flags |= AV_CODEC_FLAG_GLOBAL_HEADER;
  expect_ok(avcodec_open2(codec, encoder, nullptr), "encoder");
  AVStream* stream = avformat_new_stream(format, nullptr);
  stream->time_base = codec->time_base, stream->avg_frame_rate = codec->framerate;
  avcodec_parameters_from_context(stream->codecpar, codec);
  if (options.rotation != 0) {
#if LIBAVCODEC_VERSION_INT >= AV_VERSION_INT(60, 31, 102)
    AVPacketSideData* data =
        av_packet_side_data_new(&stream->codecpar->coded_side_data, &stream->codecpar->nb_coded_side_data,
                                AV_PKT_DATA_DISPLAYMATRIX, 9 * sizeof(int32_t), 0);
    uint8_t* matrix = data->data;
#else
    uint8_t* matrix = av_stream_new_side_data(stream, AV_PKT_DATA_DISPLAYMATRIX, 9 * sizeof(int32_t));
#endif
    av_display_rotation_set(reinterpret_cast<int32_t*>(matrix), options.rotation);
  }
  expect_ok(avio_open(&format->pb, path.c_str(), AVIO_FLAG_WRITE), "file");
  expect_ok(avformat_write_header(format, nullptr), "header");
  SwsContext* scale = sws_getContext(codec->width, codec->height, AV_PIX_FMT_RGB24, codec->width,
                                     codec->height, codec->pix_fmt, SWS_POINT, nullptr, nullptr, nullptr);
  AVFrame* frame = av_frame_alloc();
  frame->format = codec->pix_fmt, frame->width = codec->width, frame->height = codec->height;
  av_frame_get_buffer(frame, 0);
  AVPacket* packet = av_packet_alloc();
  for (size_t number = 0; number <= frames.size(); ++number) {
    bool is_end = number == frames.size();
    if (!is_end) {
      av_frame_make_writable(frame);
      const uint8_t* planes[4] = {frames[number].pixels.data()};
      int strides[4] = {static_cast<int>(frames[number].width * 3)};
      sws_scale(scale, planes, strides, 0, codec->height, frame->data, frame->linesize);
      frame->pts = static_cast<int64_t>(number);
    }
    expect_ok(avcodec_send_frame(codec, is_end ? nullptr : frame), "frame");
    while (avcodec_receive_packet(codec, packet) >= 0) {
      if (packet->duration == 0) packet->duration = 1;
      av_packet_rescale_ts(packet, codec->time_base, stream->time_base);
      expect_ok(av_interleaved_write_frame(format, packet), "packet");
    }
  }
  expect_ok(av_write_trailer(format), "trailer");
  avio_closep(&format->pb);
  av_packet_free(&packet), av_frame_free(&frame), sws_freeContext(scale);
  avcodec_free_context(&codec), avformat_free_context(format);
}

}  // namespace vlm
